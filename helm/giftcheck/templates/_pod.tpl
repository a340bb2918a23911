{{/* What pods that run the application have in common. */}}

{{/* The pod's own settings, beside containers and volumes, by (list $ "service account"). */}}
{{- define "giftcheck.podSpec" -}}
{{- $serviceAccount := index . 1 -}}
{{- with (index . 0).Values -}}
serviceAccountName: {{ $serviceAccount }}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with .imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .podSecurityContext }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- with .hostAliases }}
hostAliases:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .dnsConfig }}
dnsConfig:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}
{{- end -}}

{{/* What the application's container is, beside its arguments, by (list $ "is a member of the group"). */}}
{{- define "giftcheck.container" -}}
{{- $member := index . 1 -}}
{{- with index . 0 -}}
name: giftcheck
image: {{ include "giftcheck.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
{{- with .Values.securityContext }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- if or $member .Values.extraEnv }}
env:
  {{- if $member }}
  {{- /* Its name in the group: the same after a restart, and nobody else's in any namespace. */}}
  - name: POD_NAME
    valueFrom:
      fieldRef:
        fieldPath: metadata.name
  - name: POD_NAMESPACE
    valueFrom:
      fieldRef:
        fieldPath: metadata.namespace
  - name: GIFTCHECK_KAFKA__INSTANCE_ID
    value: $(POD_NAMESPACE).$(POD_NAME)
  {{- end }}
  {{- with .Values.extraEnv }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}
{{- with .Values.extraEnvFrom }}
envFrom:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}
{{- end -}}

{{/*
Some keys of a Secret as files of their names, or of `path`. A folder and no subPath: only so a
rotated secret reaches its file. Keys are named, so that Kubernetes tells which one is missing.
*/}}
{{- define "giftcheck.secretVolume" -}}
- name: {{ .name }}
  secret:
    secretName: {{ .secret | quote }}
    defaultMode: 0440
    optional: false
    items:
      {{- range .keys }}
      - key: {{ . | quote }}
        path: {{ default . $.path | quote }}
      {{- end }}
{{- end -}}

{{/* Volumes by name: the one of the configuration is (list $ "name of the ConfigMap"). */}}
{{- define "giftcheck.volumes" -}}
{{- $configMap := index . 1 -}}
{{- with index . 0 -}}
- name: config
  configMap:
    name: {{ $configMap }}
- name: tmp
  emptyDir:
    sizeLimit: 64Mi
{{- with .Values.kafka.security }}
{{- if .sasl.existingSecret }}
{{- $keys := compact (list .sasl.passwordKey (empty .sasl.username | ternary .sasl.usernameKey "")) }}
{{ include "giftcheck.secretVolume" (dict "name" "kafka-sasl" "secret" .sasl.existingSecret "keys" $keys) }}
{{- end }}
{{- if .tls.caSecret }}
{{ include "giftcheck.secretVolume" (dict "name" "kafka-ca" "secret" .tls.caSecret "keys" (list .tls.caKey)) }}
{{- end }}
{{- if .tls.certSecret }}
{{- $keys := compact (list .tls.certKey .tls.keyKey .tls.keyPasswordKey) }}
{{ include "giftcheck.secretVolume" (dict "name" "kafka-tls" "secret" .tls.certSecret "keys" $keys) }}
{{- end }}
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}
{{- end -}}

{{- define "giftcheck.volumeMounts" -}}
{{- $folder := include "giftcheck.secretsFolder" . -}}
- name: config
  mountPath: /etc/giftcheck
  readOnly: true
- name: tmp
  mountPath: /tmp
{{- with .Values.kafka.security }}
{{- if .sasl.existingSecret }}
- name: kafka-sasl
  mountPath: {{ $folder }}/kafka/sasl
  readOnly: true
{{- end }}
{{- if .tls.caSecret }}
- name: kafka-ca
  mountPath: {{ $folder }}/kafka/ca
  readOnly: true
{{- end }}
{{- if .tls.certSecret }}
- name: kafka-tls
  mountPath: {{ $folder }}/kafka/tls
  readOnly: true
{{- end }}
{{- end }}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* The apps' secrets and the schemas: who consumes needs them, who makes topics does not. */}}
{{- define "giftcheck.consumerVolumes" -}}
{{- range .Values.apps }}
{{- $made := not .existingSecret }}
{{- $key := ternary (printf "%d" (int64 .appId)) (default "server-secret" .secretKey) $made }}
{{- $secret := ternary (printf "%s-apps" (include "giftcheck.fullname" $)) (toString .existingSecret) $made }}
{{ include "giftcheck.secretVolume" (dict "name" (printf "app-%d" (int64 .appId)) "secret" $secret "keys" (list $key) "path" "server-secret") }}
{{- end }}
{{- with include "giftcheck.schemasConfigMap" . }}
- name: schemas
  configMap:
    name: {{ . | quote }}
{{- end }}
{{- end -}}

{{- define "giftcheck.consumerVolumeMounts" -}}
{{- range .Values.apps }}
- name: app-{{ int64 .appId }}
  mountPath: {{ include "giftcheck.secretsFolder" $ }}/apps/{{ int64 .appId }}
  readOnly: true
{{- end }}
{{- if include "giftcheck.schemasConfigMap" . }}
- name: schemas
  mountPath: {{ include "giftcheck.schemasFolder" . }}
  readOnly: true
{{- end }}
{{- end -}}
