{{/* CEL expressions for the injection. */}}

{{/*
Convert a value to a CEL literal. CEL accepts JSON, except that maps and lists must have values of one type; dyn() lifts
this restriction.
*/}}
{{- define "authgate.cel" -}}
{{- if kindIs "map" . -}}
{
{{- range $index, $key := keys . | sortAlpha -}}
{{- if $index }}, {{ end }}{{ toJson $key }}: dyn({{ include "authgate.cel" (get $ $key) }})
{{- end -}}
}
{{- else if kindIs "slice" . -}}
[
{{- range $index, $item := . -}}
{{- if $index }}, {{ end }}dyn({{ include "authgate.cel" $item }})
{{- end -}}
]
{{- else -}}
{{ toJson . }}
{{- end -}}
{{- end -}}

{{- define "authgate.celAudience" -}}
object.metadata.?annotations[?'authgate.dev/audience'].orValue({{ toJson .Values.sidecarInjection.audience }})
{{- end -}}

{{- define "authgate.celPolicy" -}}
object.metadata.?annotations[?'authgate.dev/policy'].orValue('default')
{{- end -}}

{{/* Whether the policy in a pod's annotation exists. True without the annotation. */}}
{{- define "authgate.celPolicyKnown" -}}
object.metadata.?annotations[?'authgate.dev/policy'].optMap(name, name in {{ keys .Values.sidecarInjection.policies | sortAlpha | toJson }}).orValue(true)
{{- end -}}

{{- define "authgate.celHasGate" -}}
object.spec.?initContainers.orValue([]).exists(container, container.name == 'authgate')
{{- end -}}

{{/* The value of AUTHGATE_POLICIES for the policy that a pod selects. */}}
{{- define "authgate.celPolicies" -}}
{{- $texts := dict -}}
{{- range $name, $policy := .Values.sidecarInjection.policies -}}
{{- $texts = set $texts $name (include "authgate.envText" (toJson (dict "default" $policy))) -}}
{{- end -}}
{{- if $texts -}}
{{ toJson $texts }}
{{- else -}}
{"": ""}
{{- end -}}
{{- end -}}

{{/* The container with the env in variables.env. */}}
{{- define "authgate.celSidecar" -}}
{{- $container := include "authgate.sidecarContainer" (dict "root" . "config" .Values.sidecarInjection.config) | fromYaml -}}
{{- include "authgate.cel" $container | trimSuffix "}" }}, "env": dyn(variables.env)}
{{- end -}}
