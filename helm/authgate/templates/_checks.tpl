{{/* Reject valid values that do not work together. Each message names the remedy. */}}

{{- define "authgate.check" -}}
{{- if eq .Values.mode "shared" -}}
{{- include "authgate.checkTokens" . -}}
{{- include "authgate.checkShared" . -}}
{{- include "authgate.checkOwnFiles" . -}}
{{- else -}}
{{- range list "autoscaling" "networkPolicy" -}}
{{- if (get $.Values .).enabled -}}
{{- printf "%s.enabled works only with mode shared: remove it, or set mode to shared" . | fail -}}
{{- end -}}
{{- end -}}
{{- if .Values.serviceMonitor.enabled -}}
{{- fail "serviceMonitor.enabled needs a Service, and sidecars have none: set podMonitor.enabled instead" -}}
{{- end -}}
{{- end -}}
{{- if and .Values.podMonitor.enabled .Values.serviceMonitor.enabled -}}
{{- fail "podMonitor.enabled and serviceMonitor.enabled would scrape every pod twice: set only one of them" -}}
{{- end -}}
{{- if or (.Values.config.admin).policy ((.Values.sidecarInjection.config).admin).policy -}}
{{- range $name := list "podMonitor" "serviceMonitor" -}}
{{- $monitor := get $.Values $name -}}
{{- if and $monitor.enabled (not (or $monitor.authorization $monitor.scrapeClass $monitor.bearerTokenFile)) -}}
{{- printf "config.admin.policy is set, so Prometheus needs a token to scrape: set %s.authorization or %s.scrapeClass%s" $name $name (ternary "" ", or serviceMonitor.bearerTokenFile" (eq $name "podMonitor")) | fail -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and (not (hasPrefix "unix:" .Values.sidecar.listen)) (eq (include "authgate.port" .Values.sidecar.listen) (include "authgate.port" .Values.sidecar.admin)) -}}
{{- fail "sidecar.listen and sidecar.admin have the same port: choose a different port for one of them" -}}
{{- end -}}
{{- include "authgate.checkTokenRequests" . -}}
{{- include "authgate.checkClusters" (dict "at" "config" "config" .Values.config) -}}
{{- range .Values.env -}}
{{- if hasPrefix "AUTHGATE_" .name -}}
{{- printf "env: %s is authgate configuration: set it under config" .name | fail -}}
{{- end -}}
{{- end -}}
{{- if .Values.sidecarInjection.enabled -}}
{{- include "authgate.checkInjection" . -}}
{{- end -}}
{{- end -}}

{{- define "authgate.checkTokens" -}}
{{- if not (or .Values.config.cluster .Values.config.jwt .Values.config.introspection) -}}
{{- fail "config accepts no tokens: set config.cluster.audiences, such as --set 'config.cluster.audiences={my-audience}', or add an issuer to config.jwt" -}}
{{- end -}}
{{- end -}}

{{- define "authgate.checkTokenRequests" -}}
{{- $seen := list -}}
{{- range .Values.rbac.tokenRequests -}}
{{- $account := printf "%s/%s" (.namespace | default $.Release.Namespace) .serviceAccount -}}
{{- if has $account $seen -}}
{{- printf "rbac.tokenRequests lists %s twice: put all its subjects into one entry" $account | fail -}}
{{- end -}}
{{- $seen = append $seen $account -}}
{{- end -}}
{{- end -}}

{{- define "authgate.checkShared" -}}
{{- if not (include "authgate.listen" .) -}}
{{- fail "config.server.listen has no address that proxies in other pods can reach: add one such as 0.0.0.0:8080, or set mode to sidecar" -}}
{{- end -}}
{{- $admin := include "authgate.admin" . -}}
{{- if or (not $admin) (ne (include "authgate.reachable" $admin) "true") -}}
{{- fail "config.server.admin must be an address that the kubelet can reach for probes, such as 0.0.0.0:9090" -}}
{{- end -}}
{{- if and (.Values.config.admin).recentDecisions (not (.Values.config.admin).policy) -}}
{{- fail "config.admin.recentDecisions shows user names to everyone who can reach the admin port: set config.admin.policy, so that the port asks for a token" -}}
{{- end -}}
{{- if and .Values.autoscaling.enabled (gt (int .Values.autoscaling.minReplicas) (int .Values.autoscaling.maxReplicas)) -}}
{{- fail "autoscaling.minReplicas is more than autoscaling.maxReplicas: lower it, or raise maxReplicas" -}}
{{- end -}}
{{- if and .Values.autoscaling.enabled (not (.Values.resources.requests).cpu) -}}
{{- fail "autoscaling.enabled needs resources.requests.cpu, because it scales by CPU utilization: set it" -}}
{{- end -}}
{{- if and .Values.networkPolicy.enabled (not .Values.networkPolicy.monitoring) (or .Values.podMonitor.enabled .Values.serviceMonitor.enabled) -}}
{{- fail "networkPolicy.monitoring is empty, so Prometheus could not scrape the admin port: add Prometheus as a peer there" -}}
{{- end -}}
{{- if and .Values.networkPolicy.enabled (not .Values.networkPolicy.proxies) -}}
{{- fail "networkPolicy.proxies is empty, so no proxy could reach the verify port: add the proxies as peers, such as [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: ingress-nginx}}}]" -}}
{{- end -}}
{{- with (.Values.config.server).grpc -}}
{{- if ne (include "authgate.reachable" .) "true" -}}
{{- fail "config.server.grpc is not an address that Envoy in other pods can reach: set one such as 0.0.0.0:9001" -}}
{{- end -}}
{{- $port := include "authgate.port" . -}}
{{- if or (eq $port (toString $.Values.service.port)) (and $.Values.config.exchange (eq $port (include "authgate.port" $.Values.config.exchange.listen))) -}}
{{- fail "config.server.grpc has the same port as another port of the Service: choose a different port" -}}
{{- end -}}
{{- end -}}
{{- with .Values.config.exchange -}}
{{- if ne (include "authgate.reachable" .listen) "true" -}}
{{- fail "config.exchange.listen is not an address that other pods can reach: set one such as 0.0.0.0:8081" -}}
{{- end -}}
{{- if eq (include "authgate.port" .listen) (toString $.Values.service.port) -}}
{{- fail "config.exchange.listen and service.port have the same port: choose a different port for one of them" -}}
{{- end -}}
{{- if and $.Values.networkPolicy.enabled (not $.Values.networkPolicy.exchange) -}}
{{- fail "networkPolicy.exchange is empty, so no client could exchange a token: add the clients as peers" -}}
{{- end -}}
{{- end -}}
{{- with .Values.config.signing -}}
{{- if and (not .keyFiles) (or $.Values.autoscaling.enabled (gt (int $.Values.replicas) 1)) -}}
{{- fail "config.signing.keyFiles is empty, so every pod would sign with its own key, which the other pods do not publish: mount one key for all pods" -}}
{{- end -}}
{{- end -}}
{{- if and (not .Values.serviceAccount.create) (not .Values.serviceAccount.name) -}}
{{- fail "serviceAccount.name is required if serviceAccount.create is false, so that permissions are not granted to the namespace's default account" -}}
{{- end -}}
{{- end -}}

{{/* Files that a configuration references must be mounted; without them, authgate does not start. */}}
{{- define "authgate.checkFiles" -}}
{{- $folders := list "/var/run/secrets/kubernetes.io/serviceaccount/" -}}
{{- range .mounts -}}
{{- $folders = append $folders (printf "%s/" (trimSuffix "/" .mountPath)) -}}
{{- end -}}
{{- range include "authgate.files" .config | splitList "\n" | compact -}}
{{- $setting := splitList "|" . | first -}}
{{- $file := splitList "|" . | last -}}
{{- $mounted := false -}}
{{- range $folders -}}
{{- if hasPrefix . (printf "%s/" $file) -}}
{{- $mounted = true -}}
{{- end -}}
{{- end -}}
{{- if not $mounted -}}
{{- printf "%s.%s is %s, which is not mounted: %s" $.at $setting $file $.cure | fail -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "authgate.checkOwnFiles" -}}
{{- include "authgate.checkFiles" (dict "at" "config" "config" .Values.config "mounts" .Values.volumeMounts "cure" "add a volume with the file to volumes, and its directory to volumeMounts") -}}
{{- end -}}

{{- define "authgate.checkSidecar" -}}
{{- include "authgate.checkTokens" . -}}
{{- include "authgate.checkOwnFiles" . -}}
{{- include "authgate.checkAddresses" (dict "at" "config" "config" .Values.config) -}}
{{- end -}}

{{- define "authgate.checkInjection" -}}
{{- if semverCompare "<1.34.0-0" .Capabilities.KubeVersion.Version -}}
{{- printf "sidecarInjection.enabled needs the API MutatingAdmissionPolicy, which Kubernetes %s does not have: embed the sidecar instead (the chart's README explains how)" .Capabilities.KubeVersion.Version | fail -}}
{{- end -}}
{{- $config := .Values.sidecarInjection.config -}}
{{- include "authgate.checkFiles" (dict "at" "sidecarInjection.config" "config" $config "mounts" list "cure" "injected pods have no volume for it; put the content into the configuration, or embed the sidecar") -}}
{{- include "authgate.checkAddresses" (dict "at" "sidecarInjection.config" "config" $config) -}}
{{- include "authgate.checkClusters" (dict "at" "sidecarInjection.config" "config" $config) -}}
{{- end -}}

{{/* The schema rejects this too. This check also works with helm --skip-schema-validation. */}}
{{- define "authgate.checkClusters" -}}
{{- range include "authgate.clusters" .config | fromJsonArray -}}
{{- if and (eq (.revocation | default "none") "watch") (eq ((.tokenReview).mode | default "fallback") "never") -}}
{{- printf "%s.cluster.revocation: watch needs TokenReview while it is disconnected: set tokenReview.mode to fallback or always" $.at | fail -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "authgate.checkAddresses" -}}
{{- range list "listen" "admin" -}}
{{- if hasKey ($.config.server | default dict) . -}}
{{- printf "%s.server.%s has no effect in a sidecar: set sidecar.%s" $.at . . | fail -}}
{{- end -}}
{{- end -}}
{{- end -}}
