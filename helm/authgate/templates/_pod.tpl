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
