{{/* What the chart has to know of the gate's configuration: addresses, times, and whether there is a cluster. */}}

{{/* The port of an address: host:port, [v6]:port or :port. */}}
{{- define "authgate.port" -}}
{{- regexFind "[0-9]+$" . -}}
{{- end -}}

{{/* "true" where an address can be reached from outside the pod. */}}
{{- define "authgate.reachable" -}}
{{- not (or (hasPrefix "unix:" .) (hasPrefix "127." .) (hasPrefix "[::1]" .) (hasPrefix "localhost:" .)) -}}
{{- end -}}

{{/* The first verify address that proxies elsewhere can reach; empty where there is none. */}}
{{- define "authgate.listen" -}}
{{- $found := "" -}}
{{- range (.Values.config.server).listen | default (list "0.0.0.0:8080") -}}
{{- if and (not $found) (eq (include "authgate.reachable" .) "true") -}}
{{- $found = . -}}
{{- end -}}
{{- end -}}
{{- $found -}}
{{- end -}}

{{/* The admin address; empty where the configuration says null. */}}
{{- define "authgate.admin" -}}
{{- $server := .Values.config.server | default dict -}}
{{- if hasKey $server "admin" -}}{{ $server.admin | default "" }}{{- else -}}0.0.0.0:9090{{- end -}}
{{- end -}}

{{/* The whole seconds of a duration, such as 1m30s or 90, rounded up. */}}
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

{{/* The time a pod needs to end: the gate goes on answering for shutdown.delay, and then waits for open requests. */}}
{{- define "authgate.gracePeriod" -}}
{{- $shutdown := .Values.config.shutdown | default dict -}}
{{- $delay := ternary $shutdown.delay "5s" (hasKey $shutdown "delay") -}}
{{- $timeout := ternary $shutdown.timeout "10s" (hasKey $shutdown "timeout") -}}
{{- add (include "authgate.seconds" $delay) (include "authgate.seconds" $timeout) 5 -}}
{{- end -}}

{{/* "true" where the gate needs its pod's own account: its cluster is the one that it runs in. */}}
{{- define "authgate.usesAccount" -}}
{{- if and .Values.config.cluster (not (.Values.config.cluster).kubeconfig) -}}true{{- else -}}false{{- end -}}
{{- end -}}

{{/* "true" where the gate may send TokenReviews or SubjectAccessReviews to the cluster that it runs in. */}}
{{- define "authgate.reviews" -}}
{{- $asks := ne (((.Values.config.cluster).tokenReview).mode | default "fallback") "never" -}}
{{- range .Values.config.policies }}{{ if (.).accessReview }}{{ $asks = true }}{{ end }}{{ end -}}
{{- and (eq (include "authgate.usesAccount" .) "true") $asks -}}
{{- end -}}

{{/* Every file that a configuration names, as "setting|file", one a line. */}}
{{- define "authgate.files" -}}
{{- with (.cluster).kubeconfig }}
cluster.kubeconfig|{{ . }}
{{- end }}
{{- range $name, $file := (.server).tls }}
{{- with $file }}
server.tls.{{ $name }}|{{ . }}
{{- end }}
{{- end }}
{{- range $index, $issuer := .jwt }}
{{- with (($issuer.gate).staticKeys).file }}
jwt[{{ $index }}].gate.staticKeys.file|{{ . }}
{{- end }}
{{- with (($issuer.gate).keys).tokenFile }}
jwt[{{ $index }}].gate.keys.tokenFile|{{ . }}
{{- end }}
{{- end }}
{{- end -}}
