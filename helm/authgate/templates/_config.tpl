{{/* Values that the chart reads from authgate's configuration: addresses, durations and clusters. */}}

{{/* The port of an address: host:port, [v6]:port or :port. */}}
{{- define "authgate.port" -}}
{{- regexFind "[0-9]+$" . -}}
{{- end -}}

{{/* "true" if an address can be reached from outside the pod. */}}
{{- define "authgate.reachable" -}}
{{- not (or (hasPrefix "unix:" .) (hasPrefix "127." .) (hasPrefix "[::1]" .) (hasPrefix "localhost:" .)) -}}
{{- end -}}

{{/* The first verify address that proxies in other pods can reach, or empty. */}}
{{- define "authgate.listen" -}}
{{- $found := "" -}}
{{- range (.Values.config.server).listen | default (list "0.0.0.0:8080") -}}
{{- if and (not $found) (eq (include "authgate.reachable" .) "true") -}}
{{- $found = . -}}
{{- end -}}
{{- end -}}
{{- $found -}}
{{- end -}}

{{/* The admin address; empty if it is null in the configuration. */}}
{{- define "authgate.admin" -}}
{{- $server := .Values.config.server | default dict -}}
{{- if hasKey $server "admin" -}}{{ $server.admin | default "" }}{{- else -}}0.0.0.0:9090{{- end -}}
{{- end -}}

{{/* A duration such as 1m30s or 90 in seconds, rounded up. */}}
{{- define "authgate.seconds" -}}
{{- $text := toString . -}}
{{- $total := 0.0 -}}
{{- if regexMatch "[a-z]" $text -}}
{{- $units := dict "h" 3600.0 "m" 60.0 "s" 1.0 "ms" 0.001 -}}
{{- range regexFindAll "[0-9.]+(h|ms|m|s)" $text -1 -}}
{{- $total = addf $total (mulf (float64 (regexFind "[0-9.]+" .)) (get $units (regexFind "[a-z]+" .))) -}}
{{- end -}}
{{- else -}}
{{- $total = float64 $text -}}
{{- end -}}
{{- ceil $total | int -}}
{{- end -}}

{{/* The time a pod needs to stop: authgate answers for shutdown.delay, and then waits for requests in flight. */}}
{{- define "authgate.gracePeriod" -}}
{{- $shutdown := .Values.config.shutdown | default dict -}}
{{- $delay := ternary $shutdown.delay "5s" (hasKey $shutdown "delay") -}}
{{- $timeout := ternary $shutdown.timeout "10s" (hasKey $shutdown "timeout") -}}
{{- add (include "authgate.seconds" $delay) (include "authgate.seconds" $timeout) 5 -}}
{{- end -}}

{{/* A configuration's clusters as a JSON list. The configuration can have no cluster, one, or a list. */}}
{{- define "authgate.clusters" -}}
{{- $clusters := .cluster | default list -}}
{{- if kindIs "map" $clusters }}{{ $clusters = list $clusters }}{{ end -}}
{{- toJson $clusters -}}
{{- end -}}

{{/* The cluster that authgate runs in and accesses with its pod's account: at most one. */}}
{{- define "authgate.ownCluster" -}}
{{- $own := list -}}
{{- range include "authgate.clusters" . | fromJsonArray -}}
{{- if not (or .kubeconfig .context .staticKeys (eq (.keysFrom | default "apiServer") "issuer")) }}{{ $own = append $own . }}{{ end -}}
{{- end -}}
{{- toJson $own -}}
{{- end -}}

{{/* "true" if authgate needs its pod's account. */}}
{{- define "authgate.usesAccount" -}}
{{- include "authgate.ownCluster" .Values.config | fromJsonArray | empty | not -}}
{{- end -}}

{{/* "true" if a cluster is accessed with a kubeconfig. */}}
{{- define "authgate.hasKubeconfig" -}}
{{- $found := false -}}
{{- range include "authgate.clusters" .Values.config | fromJsonArray }}{{ if .kubeconfig }}{{ $found = true }}{{ end }}{{ end -}}
{{- $found -}}
{{- end -}}

{{/* "true" if authgate may send TokenReviews or SubjectAccessReviews to its own cluster. */}}
{{- define "authgate.reviews" -}}
{{- $asks := false -}}
{{- $policies := .Values.config.policies -}}
{{- range include "authgate.ownCluster" .Values.config | fromJsonArray -}}
{{- if ne ((.tokenReview).mode | default "fallback") "never" }}{{ $asks = true }}{{ end -}}
{{- range $policies }}
{{- if (.).accessReview }}{{ $asks = true }}{{ end -}}
{{- range (.).rules }}{{ if .accessReview }}{{ $asks = true }}{{ end }}{{ end -}}
{{- end -}}
{{- end -}}
{{- $asks -}}
{{- end -}}

{{/* Every file that a configuration references, as lines "setting|file". */}}
{{- define "authgate.files" -}}
{{- $several := kindIs "slice" .cluster }}
{{- range $index, $cluster := include "authgate.clusters" . | fromJsonArray }}
{{- $at := ternary (printf "cluster[%d]" (int $index)) "cluster" $several }}
{{- with $cluster.kubeconfig }}
{{ $at }}.kubeconfig|{{ . }}
{{- end }}
{{- with ($cluster.staticKeys).file }}
{{ $at }}.staticKeys.file|{{ . }}
{{- end }}
{{- end }}
{{- range $at, $tls := dict "server" (.server).tls "exchange" (.exchange).tls }}
{{- range $name, $file := $tls }}
{{- with $file }}
{{ $at }}.tls.{{ $name }}|{{ . }}
{{- end }}
{{- end }}
{{- end }}
{{- range $name := list "caFile" "headersFile" }}
{{- with get ($.tracing | default dict) $name }}
tracing.{{ $name }}|{{ . }}
{{- end }}
{{- end }}
{{- range $index, $file := (.signing).keyFiles }}
signing.keyFiles[{{ $index }}]|{{ $file }}
{{- end }}
{{- range $index, $issuer := .jwt }}
{{- with (($issuer.gate).staticKeys).file }}
jwt[{{ $index }}].gate.staticKeys.file|{{ . }}
{{- end }}
{{- with (($issuer.gate).keys).tokenFile }}
jwt[{{ $index }}].gate.keys.tokenFile|{{ . }}
{{- end }}
{{- end }}
{{- range $index, $server := .introspection }}
{{- range $name := list "secretFile" "keyFile" "certFile" }}
{{- with get $server.clientAuth $name }}
introspection[{{ $index }}].clientAuth.{{ $name }}|{{ . }}
{{- end }}
{{- end }}
{{- end }}
{{- end -}}
