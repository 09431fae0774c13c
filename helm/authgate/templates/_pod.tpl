{{/* What the shared gate, the sidecars and the test's pod have in common. */}}

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

{{/* A client certificate of a kubeconfig passes through a file, which OpenSSL wants; this one is in memory. */}}
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

{{/* The folder that the gate finds its account in. The kubelet's own would hold a token of a lifetime nobody chose. */}}
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
The resources of a gate's container. Without a memory limit it is what the gate can need when clients use every bound of
its configuration: docs/limits.md has the arithmetic, and the gate warns at start where its limit is lower.
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
{{- $bytes := mul $processes (add 100663296 $connections $heads $cache) -}}
{{- $resources = set $resources "limits" (set $limits "memory" (printf "%dMi" (div (add $bytes 1048575) 1048576))) -}}
{{- end -}}
{{- toYaml $resources -}}
{{- end -}}
