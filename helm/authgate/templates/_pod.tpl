{{/* Shared by the Deployment, the sidecars and the pod of helm test. */}}

{{- define "authgate.probes" -}}
startupProbe:
  httpGet: {path: /livez, port: {{ . }}}
  periodSeconds: 1
  timeoutSeconds: 2
  failureThreshold: 60
readinessProbe:
  httpGet: {path: /readyz, port: {{ . }}}
  periodSeconds: 5
  timeoutSeconds: 2
  failureThreshold: 2
livenessProbe:
  httpGet: {path: /livez, port: {{ . }}}
  periodSeconds: 10
  timeoutSeconds: 3
  failureThreshold: 3
{{- end -}}

{{/* OpenSSL reads a kubeconfig's client certificate from a file. This volume is in memory. */}}
{{- define "authgate.certificateMount" -}}
{{- if eq (include "authgate.hasKubeconfig" .) "true" -}}
- name: authgate-certificate
  mountPath: /tmp
{{- end -}}
{{- end -}}

{{- define "authgate.certificateVolume" -}}
{{- if eq (include "authgate.hasKubeconfig" .) "true" -}}
- name: authgate-certificate
  emptyDir: {medium: Memory, sizeLimit: 1Mi}
{{- end -}}
{{- end -}}

{{/* The directory with authgate's token and CA. The kubelet's default token would not have the configured lifetime. */}}
{{- define "authgate.accountMount" -}}
- name: authgate-account
  mountPath: /var/run/secrets/kubernetes.io/serviceaccount
  readOnly: true
{{- end -}}

{{- define "authgate.accountVolume" -}}
- name: authgate-account
  projected:
    sources:
      - serviceAccountToken:
          path: token
          expirationSeconds: {{ int .Values.tokenExpirationSeconds }}
      - configMap:
          name: kube-root-ca.crt
          items: [{key: ca.crt, path: ca.crt}]
      - downwardAPI:
          items: [{path: namespace, fieldRef: {fieldPath: metadata.namespace}}]
{{- end -}}

{{/*
The resources of authgate's container. Without a memory limit, the chart computes what authgate needs if clients use all
limits of its configuration. docs/limits.md explains the sum. authgate logs a warning at startup if its limit is lower.
*/}}
{{- define "authgate.resources" -}}
{{- $resources := deepCopy .resources -}}
{{- $limits := $resources.limits | default dict -}}
{{- if not $limits.memory -}}
{{- $server := .config.server | default dict -}}
{{- $own := .config.limits | default dict -}}
{{- $each := ternary 212992 8192 (not (empty $server.tls)) -}}
{{- if $server.grpc }}{{ $each = add $each (ternary 212992 24576 (not (empty $server.tls))) }}{{ end -}}
{{- with .config.exchange }}{{ $each = add $each (ternary 212992 8192 (not (empty .tls))) }}{{ end -}}
{{- $connections := mul (int64 ($own.maxConnections | default 10000)) $each -}}
{{- $heads := int64 ($own.maxUnfinishedHeaderBytes | default 67108864) -}}
{{- $cache := int64 ((.config.cache).maxBytes | default 268435456) -}}
{{- $processes := ternary 4 (int64 ($server.workers | default 1)) (eq (toString $server.workers) "auto") -}}
{{- $bytes := add (mul $processes (add 74448896 $connections $heads $cache)) 26214400 -}}
{{- $resources = set $resources "limits" (set $limits "memory" (printf "%dMi" (div (add $bytes 1048575) 1048576))) -}}
{{- end -}}
{{- toYaml $resources -}}
{{- end -}}
