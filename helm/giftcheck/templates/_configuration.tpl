{{/*
The application's configuration, out of the values: each group of the application is a group of the
values, and each key the same in camelCase. So nothing here names single keys, but for those that
Kubernetes fills in (credentials, secrets, schemas), and a new one needs no change. Numbers are
written by toYaml alone: anything else turns a million into 1e+06.
*/}}

{{/* Where things are in a container. */}}
{{- define "giftcheck.schemasFolder" -}}/etc/giftcheck-schemas{{- end -}}
{{- define "giftcheck.secretsFolder" -}}/var/run/secrets/giftcheck{{- end -}}

{{/* Keys of a map in snake_case, empty ones left out: the application's default is the same. */}}
{{- define "giftcheck.snakeCase" -}}
{{- $snake := dict -}}
{{- range $key, $value := . -}}
{{- if not (or (kindIs "invalid" $value) (and (kindIs "map" $value) (empty $value))) -}}
{{- $_ := set $snake (snakecase $key) $value -}}
{{- end -}}
{{- end -}}
{{- toYaml $snake -}}
{{- end -}}

{{/* The whole document. */}}
{{- define "giftcheck.configuration" -}}
{{ include "giftcheck.groups" . }}
apps:
  {{- include "giftcheck.apps" . | nindent 2 }}
{{- end -}}

{{/* All of it but the apps. */}}
{{- define "giftcheck.groups" -}}
kafka:
  {{- $kafka := omit .Values.kafka "security" "giftSentPartitions" }}
  {{- $security := include "giftcheck.security" . | fromYaml }}
  {{- $properties := merge dict (default dict $kafka.properties) (default dict $security.properties) }}
  {{- $files := merge dict (default dict $kafka.propertyFiles) (default dict $security.propertyFiles) }}
  {{- include "giftcheck.snakeCase" (merge (dict "properties" $properties "propertyFiles" $files) $kafka) | nindent 2 }}
{{- range $group := list "topics" "check" "commit" "limits" "http" "log" }}
{{ $group }}:
  {{- include "giftcheck.snakeCase" (index $.Values $group) | nindent 2 }}
{{- end }}
format:
  {{- include "giftcheck.snakeCase" (merge (include "giftcheck.schemaFiles" . | fromYaml) .Values.format) | nindent 2 }}
{{- end -}}

{{/* What the values for Kafka's security are in librdkafka's words. */}}
{{- define "giftcheck.security" -}}
{{- with .Values.kafka.security -}}
{{- $folder := printf "%s/kafka" (include "giftcheck.secretsFolder" $) -}}
{{- $properties := dict -}}
{{- $files := dict -}}
{{- if ne .protocol "PLAINTEXT" -}}
{{- $_ := set $properties "security.protocol" .protocol -}}
{{- end -}}
{{- if hasPrefix "SASL_" .protocol -}}
{{- $_ := set $properties "sasl.mechanism" .sasl.mechanism -}}
{{- if .sasl.username -}}
{{- $_ := set $properties "sasl.username" .sasl.username -}}
{{- else -}}
{{- $_ := set $files "sasl.username" (printf "%s/sasl/%s" $folder .sasl.usernameKey) -}}
{{- end -}}
{{- $_ := set $files "sasl.password" (printf "%s/sasl/%s" $folder .sasl.passwordKey) -}}
{{- end -}}
{{- if .tls.caSecret -}}
{{- $_ := set $properties "ssl.ca.location" (printf "%s/ca/%s" $folder .tls.caKey) -}}
{{- end -}}
{{- if .tls.certSecret -}}
{{- $_ := set $properties "ssl.certificate.location" (printf "%s/tls/%s" $folder .tls.certKey) -}}
{{- $_ := set $properties "ssl.key.location" (printf "%s/tls/%s" $folder .tls.keyKey) -}}
{{- if .tls.keyPasswordKey -}}
{{- $_ := set $files "ssl.key.password" (printf "%s/tls/%s" $folder .tls.keyPasswordKey) -}}
{{- end -}}
{{- end -}}
{{- toYaml (dict "properties" $properties "propertyFiles" $files) -}}
{{- end -}}
{{- end -}}

{{/* Where the mounted schemas are; a path that was given stays. */}}
{{- define "giftcheck.schemaFiles" -}}
{{- $folder := include "giftcheck.schemasFolder" . -}}
{{- $format := dict -}}
{{- if include "giftcheck.schemasConfigMap" . -}}
{{- $ids := dict -}}
{{- range $id, $file := .Values.format.schemaIds -}}
{{- $_ := set $ids $id (ternary $file (printf "%s/%s" $folder $file) (or (eq $file "gift-sent") (hasPrefix "/" $file))) -}}
{{- end -}}
{{- $format = dict "writerSchemas" $folder "schemaIds" $ids -}}
{{- end -}}
{{- toYaml $format -}}
{{- end -}}

{{- define "giftcheck.schemasConfigMap" -}}
{{- with .Values.schemas -}}
{{- if .existingConfigMap -}}
{{- .existingConfigMap -}}
{{- else if .files -}}
{{- include "giftcheck.fullname" $ }}-schemas
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The apps, each with the file of its secret. */}}
{{- define "giftcheck.apps" -}}
{{- $apps := list -}}
{{- range .Values.apps -}}
{{- $file := printf "%s/apps/%d/server-secret" (include "giftcheck.secretsFolder" $) (int64 .appId) -}}
{{- $app := omit . "existingSecret" "secretKey" "serverSecret" -}}
{{- $apps = append $apps (include "giftcheck.snakeCase" (merge (dict "serverSecretFile" $file) $app) | fromYaml) -}}
{{- end -}}
{{- toYaml $apps -}}
{{- end -}}
