{{/* Values that are each fine and do not go together: each is refused with a sentence that says what to do. */}}

{{- define "authgate.check" -}}
{{- if eq .Values.mode "shared" -}}
{{- include "authgate.checkTokens" . -}}
{{- include "authgate.checkShared" . -}}
{{- include "authgate.checkOwnFiles" . -}}
{{- else -}}
{{- range list "autoscaling" "networkPolicy" -}}
{{- if (get $.Values .).enabled -}}
{{- printf "%s.enabled belongs to a gate of its own: leave it out, or set mode to shared" . | fail -}}
{{- end -}}
{{- end -}}
{{- if .Values.serviceMonitor.enabled -}}
{{- fail "serviceMonitor.enabled needs a Service, which gates inside apps' pods do not have: set podMonitor.enabled" -}}
{{- end -}}
{{- end -}}
{{- if and .Values.podMonitor.enabled .Values.serviceMonitor.enabled -}}
{{- fail "podMonitor.enabled and serviceMonitor.enabled would have every gate scraped twice: choose one" -}}
{{- end -}}
{{- include "authgate.checkTokenRequests" . -}}
{{- include "authgate.checkClusters" (dict "at" "config" "config" .Values.config) -}}
{{- range .Values.env -}}
{{- if hasPrefix "AUTHGATE_" .name -}}
{{- printf "env: %s sets what belongs to the gate's configuration: write it under config" .name | fail -}}
{{- end -}}
{{- end -}}
{{- if .Values.sidecarInjection.enabled -}}
{{- include "authgate.checkInjection" . -}}
{{- end -}}
{{- end -}}

{{- define "authgate.checkTokens" -}}
{{- if not (or .Values.config.cluster .Values.config.jwt) -}}
{{- fail "config accepts nobody's tokens: set config.cluster.audiences, such as --set 'config.cluster.audiences={my-audience}', or name an issuer under config.jwt" -}}
{{- end -}}
{{- end -}}

{{- define "authgate.checkTokenRequests" -}}
{{- $seen := list -}}
{{- range .Values.rbac.tokenRequests -}}
{{- $account := printf "%s/%s" (.namespace | default $.Release.Namespace) .serviceAccount -}}
{{- if has $account $seen -}}
{{- printf "rbac.tokenRequests names %s twice: put all its subjects into one entry" $account | fail -}}
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
{{- fail "config.server.admin must be an address that the kubelet can reach, such as 0.0.0.0:9090: the probes are served there" -}}
{{- end -}}
{{- if and .Values.autoscaling.enabled (gt (int .Values.autoscaling.minReplicas) (int .Values.autoscaling.maxReplicas)) -}}
{{- fail "autoscaling.minReplicas is more than autoscaling.maxReplicas" -}}
{{- end -}}
{{- if and .Values.autoscaling.enabled (not (.Values.resources.requests).cpu) -}}
{{- fail "autoscaling.enabled goes by the share of resources.requests.cpu that is used: set it" -}}
{{- end -}}
{{- if and .Values.networkPolicy.enabled (not .Values.networkPolicy.monitoring) (or .Values.podMonitor.enabled .Values.serviceMonitor.enabled) -}}
{{- fail "networkPolicy.monitoring is empty, so the gates that podMonitor or serviceMonitor names could not be scraped: name Prometheus' peers there" -}}
{{- end -}}
{{- if and .Values.networkPolicy.enabled (not .Values.networkPolicy.proxies) -}}
{{- fail "networkPolicy.proxies is empty, so nobody could ask the gate: name the peers that may, such as [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: ingress-nginx}}}]" -}}
{{- end -}}
{{- with (.Values.config.server).grpc -}}
{{- if ne (include "authgate.reachable" .) "true" -}}
{{- fail "config.server.grpc is no address that Envoy in other pods can reach: set one such as 0.0.0.0:9001" -}}
{{- end -}}
{{- $port := include "authgate.port" . -}}
{{- if or (eq $port (toString $.Values.service.port)) (and $.Values.config.exchange (eq $port (include "authgate.port" $.Values.config.exchange.listen))) -}}
{{- fail "config.server.grpc has the port of another of the Service's ports, and there is one Service: choose another" -}}
{{- end -}}
{{- end -}}
{{- with .Values.config.exchange -}}
{{- if ne (include "authgate.reachable" .listen) "true" -}}
{{- fail "config.exchange.listen is no address that other pods can reach: set one such as 0.0.0.0:8081" -}}
{{- end -}}
{{- if eq (include "authgate.port" .listen) (toString $.Values.service.port) -}}
{{- fail "config.exchange.listen and service.port have one port, and there is one Service: choose another for one of them" -}}
{{- end -}}
{{- if and $.Values.networkPolicy.enabled (not $.Values.networkPolicy.exchange) -}}
{{- fail "networkPolicy.exchange is empty, so nobody could exchange a token: name the peers that may" -}}
{{- end -}}
{{- end -}}
{{- with .Values.config.signing -}}
{{- if and (not .keyFiles) (or $.Values.autoscaling.enabled (gt (int $.Values.replicas) 1)) -}}
{{- fail "config.signing.keyFiles is empty, so every gate would sign with a key of its own, which the others do not know: mount one key for all" -}}
{{- end -}}
{{- end -}}
{{- if and (not .Values.serviceAccount.create) (not .Values.serviceAccount.name) -}}
{{- fail "serviceAccount.name is required where serviceAccount.create is false: the rights must not go to the namespace's default account" -}}
{{- end -}}
{{- end -}}

{{/* A file that a configuration names must be mounted, or the gate would refuse to start. */}}
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
{{- printf "%s.%s names %s, which is not mounted: %s" $.at $setting $file $.cure | fail -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "authgate.checkOwnFiles" -}}
{{- include "authgate.checkFiles" (dict "at" "config" "config" .Values.config "mounts" .Values.volumeMounts "cure" "add what holds it to volumes, and its folder to volumeMounts") -}}
{{- end -}}

{{- define "authgate.checkSidecar" -}}
{{- include "authgate.checkTokens" . -}}
{{- include "authgate.checkOwnFiles" . -}}
{{- include "authgate.checkAddresses" (dict "at" "config" "config" .Values.config) -}}
{{- end -}}

{{- define "authgate.checkInjection" -}}
{{- if semverCompare "<1.34.0-0" .Capabilities.KubeVersion.Version -}}
{{- printf "sidecarInjection.enabled needs the API MutatingAdmissionPolicy, which Kubernetes %s does not have: embed the sidecar instead (see the chart's README)" .Capabilities.KubeVersion.Version | fail -}}
{{- end -}}
{{- $config := .Values.sidecarInjection.config -}}
{{- include "authgate.checkFiles" (dict "at" "sidecarInjection.config" "config" $config "mounts" list "cure" "pods that get a gate injected have no volume for it; write the text itself into the configuration, or embed the sidecar") -}}
{{- include "authgate.checkAddresses" (dict "at" "sidecarInjection.config" "config" $config) -}}
{{- include "authgate.checkClusters" (dict "at" "sidecarInjection.config" "config" $config) -}}
{{- end -}}

{{/* The schema refuses this, too; here for whoever has helm skip it. */}}
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
{{- printf "%s.server.%s has no meaning for a sidecar: set sidecar.%s" $.at . . | fail -}}
{{- end -}}
{{- end -}}
{{- end -}}
