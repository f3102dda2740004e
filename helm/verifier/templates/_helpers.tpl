{{- /* Names, labels and pieces that more than one object has. Each takes the root context, or what it says. */}}

{{- define "verifier.name" -}}
{{- if .Values.fullnameOverride -}}
{{ .Values.fullnameOverride }}
{{- else if contains .Chart.Name .Release.Name -}}
{{ .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else -}}
{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 40 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- /* Of a list: the root context, and the component. */}}
{{- define "verifier.selector" -}}
app.kubernetes.io/name: {{ (index . 0).Chart.Name }}
app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{- define "verifier.labels" -}}
{{ include "verifier.selector" . }}
app.kubernetes.io/version: {{ (index . 0).Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ (index . 0).Release.Service }}
helm.sh/chart: {{ printf "%s-%s" (index . 0).Chart.Name (index . 0).Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "verifier.image" -}}
{{- $repository := required "image.repository: name the image of imds-verifier" .Values.image.repository -}}
image: {{ if .Values.image.digest }}{{ printf "%s@%s" $repository .Values.image.digest | quote }}
{{- else }}{{ printf "%s:%s" $repository (.Values.image.tag | default .Chart.AppVersion) | quote }}{{ end }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
{{- end }}

{{- define "verifier.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{ .Values.serviceAccount.name | default (include "verifier.name" .) }}
{{- else -}}
{{ .Values.serviceAccount.name | default "default" }}
{{- end }}
{{- end }}

{{- /* What every pod says of itself: the restricted Pod Security Standard, and no token of the API. */}}
{{- define "verifier.pod" -}}
automountServiceAccountToken: false
# Else a Service of the name `verifier` would set VERIFIER_PORT and others.
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  seccompProfile: {type: RuntimeDefault}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
{{- range . }}
  - name: {{ . }}
{{- end }}
{{- end }}
{{- end }}

{{- define "verifier.container" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end }}

{{- /* A value as TOML: JSON, but for tables, which stand in one line. */}}
{{- define "verifier.toml" -}}
{{- if kindIs "map" . -}}
{ {{- range $index, $name := keys . | sortAlpha }}{{ if $index }}, {{ end }}{{ toJson $name }} = {{ include "verifier.toml" (get $ $name) }}{{ end -}} }
{{- else if kindIs "slice" . -}}
[ {{- range $index, $value := . }}{{ if $index }}, {{ end }}{{ include "verifier.toml" $value }}{{ end -}} ]
{{- else -}}
{{ toJson . }}
{{- end }}
{{- end }}

{{- /* Where the service is, from inside the cluster. */}}
{{- define "verifier.url" -}}
http://{{ include "verifier.name" . }}.{{ .Release.Namespace }}.svc:{{ .Values.service.port }}
{{- end }}
