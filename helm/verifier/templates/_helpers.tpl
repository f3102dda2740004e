{{- /* Names, labels and parts of several objects. The argument is the root context, or a list that starts with it. */}}

{{- define "verifier.chart" -}}
{{ .Values.nameOverride | default .Chart.Name }}
{{- end }}

{{- /* At most 40 characters, because parts such as `-emulator-authority` follow. A longer name ends in a hash, so that names
that begin alike stay apart. */}}
{{- define "verifier.name" -}}
{{- $chart := include "verifier.chart" . -}}
{{- $name := contains $chart .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $chart) -}}
{{- if .Values.fullnameOverride -}}
{{ .Values.fullnameOverride }}
{{- else if gt (len $name) 40 -}}
{{ $name | trunc 31 | trimSuffix "-" }}-{{ $name | sha256sum | trunc 8 }}
{{- else -}}
{{ $name }}
{{- end }}
{{- end }}

{{- /* "true", or empty: a first try brings its own Valkey and emulator. */}}
{{- define "verifier.valkey" -}}
{{ if or .Values.try .Values.valkey.enabled }}true{{ end }}
{{- end }}
{{- define "verifier.emulator" -}}
{{ if or .Values.try .Values.emulator.enabled }}true{{ end }}
{{- end }}

{{- /* Arguments: the root context and the component. */}}
{{- define "verifier.selector" -}}
app.kubernetes.io/name: {{ include "verifier.chart" (index . 0) }}
app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{- /* Arguments: the root context, the component and, optionally, more labels. Labels of the chart always count. */}}
{{- define "verifier.labels" -}}
{{- $root := index . 0 }}
{{- $labels := dict }}
{{- /* `set`, because `merge` ignores empty texts and false. */}}
{{- range list $root.Values.global.commonLabels $root.Values.commonLabels (slice . 2 | first) (include "verifier.selector" . | fromYaml) }}
{{- range $name, $value := . }}{{ $_ := set $labels $name $value }}{{ end }}
{{- end }}
{{- $_ := set $labels "app.kubernetes.io/version" $root.Chart.AppVersion }}
{{- $_ := set $labels "app.kubernetes.io/managed-by" $root.Release.Service }}
{{- $_ := set $labels "helm.sh/chart" (printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_") }}
{{- toYaml $labels }}
{{- end }}

{{- /* Arguments: the root context and the name of an image. Its first part is a registry if it is a host. */}}
{{- define "verifier.imageName" -}}
{{- $root := index . 0 }}
{{- $name := index . 1 }}
{{- $host := splitList "/" $name | first }}
{{- $hasRegistry := and (contains "/" $name) (or (contains "." $host) (contains ":" $host) (eq $host "localhost")) }}
{{- if and $root.Values.global.imageRegistry (not $hasRegistry) -}}
{{ trimSuffix "/" $root.Values.global.imageRegistry }}/
{{- end }}
{{- $name }}
{{- end }}

{{- define "verifier.image" -}}
{{- $repository := required "image.repository: name the image of imds-verifier" .Values.image.repository -}}
{{- $version := printf ":%s" (.Values.image.tag | default .Chart.AppVersion) }}
{{- with .Values.image.digest }}{{ $version = printf "@%s" . }}{{ end -}}
image: {{ printf "%s%s" (include "verifier.imageName" (list . $repository)) $version | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
{{- end }}

{{- define "verifier.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{ .Values.serviceAccount.name | default (include "verifier.name" .) }}
{{- else -}}
{{ .Values.serviceAccount.name | default "default" }}
{{- end }}
{{- end }}

{{- /* For every pod: the restricted Pod Security Standard, and no token of the API. */}}
{{- define "verifier.pod" -}}
automountServiceAccountToken: false
# Otherwise a Service with the name `verifier` would set VERIFIER_PORT and others.
enableServiceLinks: false
{{- if kindIs "bool" .Values.hostUsers }}
hostUsers: {{ .Values.hostUsers }}
{{- end }}
securityContext:
  runAsNonRoot: true
  {{- $ofCluster := .Values.openshift | ternary (list "runAsUser" "runAsGroup" "fsGroup") list }}
  {{- range $field, $value := omit .Values.podSecurityContext "seccompProfile" }}
  {{- if not (or (has $field $ofCluster) (has (toJson $value) (list "null" "[]" "{}"))) }}
  {{ $field }}: {{ toJson $value }}
  {{- end }}
  {{- end }}
  {{- with .Values.podSecurityContext.seccompProfile }}
  seccompProfile: {type: {{ .type }}{{ with .localhostProfile }}, localhostProfile: {{ toJson . }}{{ end }}}
  {{- end }}
{{- $secrets := list }}
{{- range concat (.Values.imagePullSecrets | default list) (.Values.global.imagePullSecrets | default list) }}
{{- $secrets = append $secrets (kindIs "map" . | ternary . (dict "name" .)) }}
{{- end }}
{{- with $secrets }}
imagePullSecrets: {{- uniq . | toYaml | nindent 2 }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "verifier.container" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: {{ .Values.securityContext.readOnlyRootFilesystem }}
  capabilities: {drop: [ALL]}
{{- end }}

{{- /* Arguments: the root context and containers of the values. Fields of their own securityContext count. */}}
{{- define "verifier.containers" -}}
{{- $containers := list }}
{{- range index . 1 }}
{{- $context := (include "verifier.container" (index $ 0) | fromYaml).securityContext }}
{{- range $field, $value := .securityContext }}{{ $_ := set $context $field $value }}{{ end }}
{{- $containers = append $containers (set (deepCopy .) "securityContext" $context) }}
{{- end }}
{{- toYaml $containers }}
{{- end }}

{{- /* A value as TOML: JSON, except for tables, which are in one line. */}}
{{- define "verifier.toml" -}}
{{- if kindIs "map" . -}}
{ {{- range $index, $name := keys . | sortAlpha }}{{ if $index }}, {{ end }}{{ toJson $name }} = {{ include "verifier.toml" (get $ $name) }}{{ end -}} }
{{- else if kindIs "slice" . -}}
[ {{- range $index, $value := . }}{{ if $index }}, {{ end }}{{ include "verifier.toml" $value }}{{ end -}} ]
{{- else -}}
{{ toJson . }}
{{- end }}
{{- end }}

{{- /* The URL of the service inside the cluster. */}}
{{- define "verifier.url" -}}
http://{{ include "verifier.name" . }}.{{ .Release.Namespace }}.svc:{{ .Values.service.port }}
{{- end }}
{{- define "verifier.emulatorUrl" -}}
http://{{ include "verifier.name" . }}-emulator.{{ .Release.Namespace }}.svc:8254
{{- end }}

{{- /* The URL of the nonces if it is no secret: that of Valkey or of redis.host. The password is in a file. */}}
{{- define "verifier.redisUrl" -}}
{{- $redis := .Values.redis }}
{{- if include "verifier.valkey" . -}}
redis://{{ include "verifier.name" . }}-valkey.{{ .Release.Namespace }}.svc:6379/0
{{- else if $redis.host -}}
{{ $redis.tls.enabled | ternary "rediss" "redis" }}://{{ with $redis.username }}{{ . }}@{{ end }}
{{- contains ":" $redis.host | ternary (printf "[%s]" $redis.host) $redis.host }}:{{ $redis.port }}/{{ $redis.database }}
{{- end }}
{{- end }}

{{- /* The paths that callers outside the cluster need, as a list in JSON. */}}
{{- define "verifier.publicPaths" -}}
{{ concat (list "/v1/nonces" "/v1/attestations" "/.well-known/jwks.json") .Values.extraPublicPaths | uniq | toJson }}
{{- end }}

{{- /* Public addresses, as peers of a NetworkPolicy. */}}
{{- define "verifier.publicAddresses" -}}
- ipBlock:
    cidr: 0.0.0.0/0
    except: [0.0.0.0/8, 10.0.0.0/8, 100.64.0.0/10, 127.0.0.0/8, 169.254.0.0/16, 172.16.0.0/12, 192.168.0.0/16]
- ipBlock:
    cidr: ::/0
    except: ["::1/128", "fc00::/7", "fe80::/10"]
{{- end }}
