{{/* Names and labels, as most charts have them. */}}

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

{{/* What the gate's own pods have and the test's pod has not. */}}
{{- define "authgate.gateLabels" -}}
{{ include "authgate.selectorLabels" . }}
app.kubernetes.io/component: gate
{{- end -}}

{{/* Of objects that belong to no namespace: two releases of one name do not meet. RBAC allows colons. */}}
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
