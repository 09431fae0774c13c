{{/*
authgate inside an app's pod. Charts that depend on this one put

  initContainers: {{- include "authgate.sidecar" . | nindent 8 }}
  volumes: {{- include "authgate.sidecarVolumes" . | nindent 8 }}

into their pod's spec. If the dependency has an alias, replace the dot with `.Subcharts.<alias>`. authgate is configured
with environment variables, so a changed configuration changes the pod and restarts it.
*/}}
{{- define "authgate.sidecar" -}}
{{- if hasKey .Values "sidecarInjection" -}}
{{- include "authgate.checkSidecar" . -}}
{{- $container := include "authgate.sidecarContainer" (dict "root" . "config" .Values.config) | fromYaml -}}
{{- $env := include "authgate.sidecarEnv" (dict "config" .Values.config) | fromYamlArray -}}
{{- $addresses := list (dict "name" "AUTHGATE_SERVER__LISTEN" "value" .Values.sidecar.listen) (dict "name" "AUTHGATE_SERVER__ADMIN" "value" .Values.sidecar.admin) -}}
{{- $container = set $container "env" (concat $env $addresses .Values.env) -}}
{{- $container = set $container "ports" (include "authgate.sidecarPorts" . | fromYamlArray) -}}
{{- $container = set $container "volumeMounts" (concat $container.volumeMounts (include "authgate.certificateMount" . | fromYamlArray) .Values.volumeMounts) -}}
{{- list $container | toYaml -}}
{{- else -}}
{{- include "authgate.sidecar" (include "authgate.subchart" . | index .Subcharts) -}}
{{- end -}}
{{- end -}}

{{- define "authgate.sidecarVolumes" -}}
{{- if hasKey .Values "sidecarInjection" -}}
{{- include "authgate.sidecarOwnVolumes" . }}
{{- with include "authgate.certificateVolume" . }}
{{ . }}
{{- end }}
{{- with .Values.volumes }}
{{ toYaml . }}
{{- end }}
{{- else -}}
{{- include "authgate.sidecarVolumes" (include "authgate.subchart" . | index .Subcharts) -}}
{{- end -}}
{{- end -}}

{{/* The dependency's name in the rendered chart. */}}
{{- define "authgate.subchart" -}}
{{- if not (hasKey (.Subcharts | default dict) "authgate") -}}
{{- fail "authgate.sidecar: this chart has no dependency named authgate: add it to Chart.yaml, or pass .Subcharts.<alias> instead of the dot" -}}
{{- end -}}
authgate
{{- end -}}

{{/* The volumes of embedded and injected sidecars. */}}
{{- define "authgate.sidecarOwnVolumes" -}}
{{- include "authgate.accountVolume" . }}
{{- if hasPrefix "unix:" .Values.sidecar.listen }}
- name: authgate-socket
  emptyDir: {medium: Memory, sizeLimit: 1Mi}
{{- end }}
{{- end -}}

{{/* A sidecar's configuration. Its limits are lower than those of a shared Deployment, because it serves one pod. */}}
{{- define "authgate.sidecarBounds" -}}
{{- $limits := dict "maxConnections" 1000 "maxUnfinishedHeaderBytes" 16777216 -}}
{{- dict "limits" (merge (deepCopy (.limits | default dict)) $limits) "cache" (merge (deepCopy (.cache | default dict)) (dict "maxBytes" 67108864)) | toJson -}}
{{- end -}}

{{/* The ports that a sidecar listens on. Declared, so that collisions in a pod can be found. */}}
{{- define "authgate.sidecarPorts" -}}
{{- if not (hasPrefix "unix:" .Values.sidecar.listen) }}
- name: authgate-verify
  containerPort: {{ include "authgate.port" .Values.sidecar.listen }}
  protocol: TCP
{{- end }}
- name: authgate-admin
  containerPort: {{ include "authgate.port" .Values.sidecar.admin }}
  protocol: TCP
{{- end -}}

{{/* The container without env and ports, for embedded and injected sidecars. */}}
{{- define "authgate.sidecarContainer" -}}
{{- $config := .config -}}
{{- with .root -}}
name: authgate
image: {{ include "authgate.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
args: [serve]
# A native sidecar: starts before the pod's containers and stops after them.
restartPolicy: Always
{{ include "authgate.probes" "authgate-admin" }}
resources: {{- include "authgate.resources" (dict "resources" .Values.sidecar.resources "config" (merge (include "authgate.sidecarBounds" $config | fromJson) $config)) | nindent 2 }}
securityContext: {{- toYaml .Values.securityContext | nindent 2 }}
volumeMounts:
  {{- include "authgate.accountMount" . | nindent 2 }}
  {{- if hasPrefix "unix:" .Values.sidecar.listen }}
  - name: authgate-socket
    mountPath: {{ trimPrefix "unix:" .Values.sidecar.listen | dir }}
  {{- end }}
{{- end -}}
{{- end -}}

{{/* The env of a sidecar without its addresses: a variable for each section of the configuration, and its limits. */}}
{{- define "authgate.sidecarEnv" -}}
{{- $env := list -}}
{{- range $name, $section := omit .config "apiVersion" "kind" "limits" "cache" -}}
{{- $env = append $env (dict "name" (printf "AUTHGATE_%s" (upper $name)) "value" (include "authgate.envText" (toJson $section))) -}}
{{- end -}}
{{- range $name, $section := include "authgate.sidecarBounds" .config | fromJson -}}
{{- range $field, $value := $section -}}
{{- $env = append $env (dict "name" (printf "AUTHGATE_%s__%s" (upper $name) (upper $field)) "value" (ternary (printf "%.0f" $value) (toString $value) (kindIs "float64" $value))) -}}
{{- end -}}
{{- end -}}
{{- if not (hasKey (.config.shutdown | default dict) "delay") -}}
{{- /* A sidecar stops after the containers that use it, so it does not need to wait. */ -}}
{{- $env = append $env (dict "name" "AUTHGATE_SHUTDOWN__DELAY" "value" "0s") -}}
{{- end -}}
{{- toYaml $env -}}
{{- end -}}

{{/* Escape a string for an env value, because Kubernetes expands $(NAME). */}}
{{- define "authgate.envText" -}}
{{- . | replace "$" "$$" -}}
{{- end -}}
