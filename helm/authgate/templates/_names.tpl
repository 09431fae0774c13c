{{/* Names and labels, as in most charts. */}}

{{- define "authgate.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "authgate.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else if contains (include "authgate.name" .) .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "authgate.name" .) | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "authgate.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "authgate.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{- define "authgate.selectorLabels" -}}
app.kubernetes.io/name: {{ include "authgate.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* Labels of authgate's pods that the pod of helm test does not have. */}}
{{- define "authgate.gateLabels" -}}
{{ include "authgate.selectorLabels" . }}
app.kubernetes.io/component: gate
{{- end -}}

{{/* The name of cluster-scoped objects: unique for releases with the same name. RBAC allows colons. */}}
{{- define "authgate.clusterName" -}}
authgate:{{ .Release.Namespace }}:{{ include "authgate.fullname" . }}
{{- end -}}

{{- define "authgate.serviceAccountName" -}}
{{- .Values.serviceAccount.name | default (include "authgate.fullname" .) -}}
{{- end -}}

{{- define "authgate.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}
{{- end -}}
{{- end -}}
{{- end -}}
