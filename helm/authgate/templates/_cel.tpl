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

{{/* The port of an address, or the one that a pod's annotation names. Pass "address" and "annotation". */}}
{{- define "authgate.celPort" -}}
object.metadata.?annotations[?'{{ .annotation }}'].orValue({{ include "authgate.port" .address | quote }})
{{- end -}}

{{/* Whether the port in a pod's annotation is valid. True without the annotation. Pass the annotation. */}}
{{- define "authgate.celPortValid" -}}
object.metadata.?annotations[?'{{ . }}'].optMap(port, port.matches('^[1-9][0-9]{0,4}$') && int(port) <= 65535).orValue(true)
{{- end -}}

{{/* Whether a pod's annotations for ports are valid. A sidecar with a unix socket has no verify port. */}}
{{- define "authgate.celPortsValid" -}}
{{- if hasPrefix "unix:" .Values.sidecar.listen -}}
!object.metadata.?annotations[?'authgate.dev/port'].hasValue()
{{- else -}}
{{ include "authgate.celPortValid" "authgate.dev/port" }}
{{- end }} && {{ include "authgate.celPortValid" "authgate.dev/admin-port" }}
{{- end -}}

{{/* The addresses of the sidecar as a list of env entries, and its ports. */}}
{{- define "authgate.celAddresses" -}}
[{{- if hasPrefix "unix:" .Values.sidecar.listen -}}
{"name": "AUTHGATE_SERVER__LISTEN", "value": {{ toJson .Values.sidecar.listen }}},
{{- else -}}
{"name": "AUTHGATE_SERVER__LISTEN", "value": {{ regexReplaceAll "[0-9]+$" .Values.sidecar.listen "" | toJson }} + variables.port},
{{- end }} {"name": "AUTHGATE_SERVER__ADMIN", "value": {{ regexReplaceAll "[0-9]+$" .Values.sidecar.admin "" | toJson }} + variables.adminPort}]
{{- end -}}

{{- define "authgate.celPorts" -}}
[
{{- if not (hasPrefix "unix:" .Values.sidecar.listen) -}}
dyn({"name": dyn("authgate-verify"), "containerPort": dyn(int(variables.port)), "protocol": dyn("TCP")}), {{ end -}}
dyn({"name": dyn("authgate-admin"), "containerPort": dyn(int(variables.adminPort)), "protocol": dyn("TCP")})]
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

{{/* The container with the env in variables.env and the ports. */}}
{{- define "authgate.celSidecar" -}}
{{- $container := include "authgate.sidecarContainer" (dict "root" . "config" .Values.sidecarInjection.config) | fromYaml -}}
{{- include "authgate.cel" $container | trimSuffix "}" }}, "env": dyn(variables.env), "ports": dyn({{ include "authgate.celPorts" . }})}
{{- end -}}
