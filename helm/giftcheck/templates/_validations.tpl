{{/*
What the schema cannot see: values that are possible each and impossible together. Each refusal names
the key and the way out. The application refuses its own part of this, too, but then a rollout is
under way already.
*/}}
{{- define "giftcheck.validate" -}}
{{- include "giftcheck.validateNames" . -}}
{{- include "giftcheck.validateKafka" . -}}
{{- include "giftcheck.validateApps" . -}}
{{- include "giftcheck.validateCheck" . -}}
{{- include "giftcheck.validateFormat" . -}}
{{- include "giftcheck.validateScaling" . -}}
{{- include "giftcheck.validateTopics" . -}}
{{- include "giftcheck.validatePods" . -}}
{{- end -}}

{{/* A name in the group is <namespace>.<pod>, and the longest pod is <fullname>-doctor. */}}
{{- define "giftcheck.validateNames" -}}
{{- $name := printf "%s.%s-doctor" .Release.Namespace (include "giftcheck.fullname" .) -}}
{{- if gt (len $name) 100 -}}
{{- fail (printf "fullnameOverride: a pod's name in the group, as in %s, may have 100 characters: shorten it by %d" $name (sub (len $name) 100)) -}}
{{- end -}}
{{- end -}}

{{- define "giftcheck.validateApps" -}}
{{- if not .Values.apps -}}
{{- fail "apps: name at least one app of the vendor's, as in --set apps[0].appId=1234567890 --set apps[0].existingSecret=zego" -}}
{{- end -}}
{{- $seen := list -}}
{{- range $index, $app := .Values.apps -}}
{{- $where := printf "apps[%d]" $index -}}
{{- if and .existingSecret .serverSecret -}}
{{- fail (printf "%s: existingSecret and serverSecret are both given: keep one" $where) -}}
{{- else if not (or .existingSecret .serverSecret) -}}
{{- fail (printf "%s: give existingSecret, a Secret with the key server-secret (or secretKey), or serverSecret" $where) -}}
{{- else if and .serverSecret .secretKey -}}
{{- fail (printf "%s.secretKey: it is a key of existingSecret, and the Secret of serverSecret is made here: leave it out" $where) -}}
{{- end -}}
{{- if has (int64 .appId) $seen -}}
{{- fail (printf "%s.appId: %d is there twice" $where (int64 .appId)) -}}
{{- end -}}
{{- $seen = append $seen (int64 .appId) -}}
{{- end -}}
{{- end -}}

{{- define "giftcheck.validateKafka" -}}
{{- with .Values.kafka -}}
{{- if not .bootstrapServers -}}
{{- fail "kafka.bootstrapServers: say where the brokers are, as in --set kafka.bootstrapServers=kafka:9092" -}}
{{- end -}}
{{- $made := include "giftcheck.security" $ | fromYaml -}}
{{- $given := concat (keys (default dict .properties)) (keys (default dict .propertyFiles)) -}}
{{- range concat (keys $made.properties) (keys $made.propertyFiles) | sortAlpha -}}
{{- if has . $given -}}
{{- fail (printf "kafka.properties and kafka.propertyFiles: %s comes from kafka.security here: say it in one place" .) -}}
{{- end -}}
{{- end -}}
{{- range keys (default dict .propertyFiles) | sortAlpha -}}
{{- if hasKey (default dict $.Values.kafka.properties) . -}}
{{- fail (printf "kafka.propertyFiles: %s is in kafka.properties, too: keep one" .) -}}
{{- end -}}
{{- end -}}
{{- range keys (default dict .properties) | sortAlpha -}}
{{- if regexMatch "(password|passphrase|secret|key\\.pem)$" . -}}
{{- fail (printf "kafka.properties: %s would lie in a ConfigMap for many to read: mount its Secret with extraVolumes and name the file in kafka.propertyFiles" .) -}}
{{- end -}}
{{- end -}}
{{- with .security -}}
{{- if and (hasPrefix "SASL_" .protocol) (not .sasl.existingSecret) -}}
{{- fail (printf "kafka.security.sasl.existingSecret: protocol %s needs a Secret with the password; for a mechanism without one use kafka.properties" .protocol) -}}
{{- else if and .sasl.existingSecret (not (hasPrefix "SASL_" .protocol)) -}}
{{- fail (printf "kafka.security.sasl.existingSecret: protocol %s sends no password: set kafka.security.protocol to SASL_SSL, or leave it out" .protocol) -}}
{{- end -}}
{{- if and (or .tls.caSecret .tls.certSecret) (not (hasSuffix "SSL" .protocol)) -}}
{{- fail (printf "kafka.security.tls: protocol %s has no TLS: set kafka.security.protocol to SSL or SASL_SSL, or leave the Secrets out" .protocol) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $topics := values .Values.topics | uniq -}}
{{- if lt (len $topics) 3 -}}
{{- fail "topics: giftSent, giftResult and deadLetters must be three topics" -}}
{{- end -}}
{{- end -}}

{{/* Milliseconds of a duration. */}}
{{- define "giftcheck.durationMs" -}}
{{- $units := dict "" 0 "ms" 1 "s" 1000 "m" 60000 "h" 3600000 "d" 86400000 -}}
{{- mulf (regexFind "^[0-9.]+" (toString .) | float64) (get $units (regexFind "[a-z]*$" (toString .))) | int64 -}}
{{- end -}}

{{- define "giftcheck.validateCheck" -}}
{{- with .Values.check -}}
{{- $giveUpAfter := include "giftcheck.durationMs" .giveUpAfter | int64 -}}
{{- $decided := add (include "giftcheck.durationMs" .timeout | int64) (include "giftcheck.durationMs" .settle | int64) -}}
{{- if and (gt $giveUpAfter 0) (le $giveUpAfter $decided) -}}
{{- fail "check.giveUpAfter: it must be 0 or longer than check.timeout + check.settle" -}}
{{- end -}}
{{- if gt (include "giftcheck.durationMs" .unknownHoldMin | int64) (include "giftcheck.durationMs" .unknownHoldMax | int64) -}}
{{- fail "check.unknownHoldMin: it must not be longer than check.unknownHoldMax" -}}
{{- end -}}
{{- if ge (add (include "giftcheck.durationMs" .lease | int64) (include "giftcheck.durationMs" .requestTimeout | int64)) 10000 -}}
{{- fail "check.lease: with check.requestTimeout it must stay under the group's session time-out of 10s" -}}
{{- end -}}
{{- end -}}
{{- with .Values.limits -}}
{{- if ge (int64 .overdueGiftsMax) (int64 .pendingGiftsMax) -}}
{{- fail "limits.overdueGiftsMax: it must be smaller than limits.pendingGiftsMax" -}}
{{- end -}}
{{- if lt (int64 .replayRecordsMax) (int64 .pendingGiftsMax) -}}
{{- fail "limits.replayRecordsMax: it must not be smaller than limits.pendingGiftsMax" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "giftcheck.validateFormat" -}}
{{- if and (eq .Values.format.output "confluent") (kindIs "invalid" .Values.format.resultSchemaId) -}}
{{- fail "format.resultSchemaId: format.output confluent needs the id that your registry gave gift-result's schema" -}}
{{- end -}}
{{- if and .Values.schemas.existingConfigMap .Values.schemas.files -}}
{{- fail "schemas: existingConfigMap and files are both given: keep one" -}}
{{- end -}}
{{- $mounted := include "giftcheck.schemasConfigMap" . -}}
{{- if and $mounted .Values.format.writerSchemas -}}
{{- fail "format.writerSchemas: it is the folder of schemas.existingConfigMap or schemas.files here: leave it out" -}}
{{- end -}}
{{- range $id, $file := .Values.format.schemaIds -}}
{{- if not (or $mounted (eq $file "gift-sent") (hasPrefix "/" $file)) -}}
{{- fail (printf "format.schemaIds.%s: where is %s? Give schemas.existingConfigMap or schemas.files, a path, or gift-sent for the shipped schema" $id $file) -}}
{{- end -}}
{{- if and $.Values.schemas.files (not (or (eq $file "gift-sent") (hasPrefix "/" $file) (hasKey $.Values.schemas.files $file))) -}}
{{- fail (printf "format.schemaIds.%s: schemas.files holds no %s" $id $file) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "giftcheck.validateScaling" -}}
{{- $partitions := int64 .Values.kafka.giftSentPartitions -}}
{{- with .Values.autoscaling -}}
{{- if eq .type "none" -}}
{{- if and $partitions (gt (int64 $.Values.replicaCount) $partitions) -}}
{{- fail (printf "replicaCount: of %d pods only %d could have a partition (kafka.giftSentPartitions): use fewer" (int64 $.Values.replicaCount) $partitions) -}}
{{- end -}}
{{- else if ne .type "external" -}}
{{- if gt (int64 .minReplicas) (int64 .maxReplicas) -}}
{{- fail "autoscaling.minReplicas: it must not be above autoscaling.maxReplicas" -}}
{{- end -}}
{{- if and $partitions (gt (int64 .maxReplicas) $partitions) -}}
{{- fail (printf "autoscaling.maxReplicas: of %d pods only %d could have a partition (kafka.giftSentPartitions): set it to that" (int64 .maxReplicas) $partitions) -}}
{{- end -}}
{{- end -}}
{{- if and (eq .type "keda") (not .keda.serverAddress) -}}
{{- fail "autoscaling.keda.serverAddress: say where KEDA finds Prometheus, as in http://prometheus.monitoring:9090" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "giftcheck.validateTopics" -}}
{{- with .Values.topicManagement -}}
{{- if and (eq .mode "strimzi") (not .strimzi.cluster) -}}
{{- fail "topicManagement.strimzi.cluster: name the Kafka cluster, as its KafkaTopics do in strimzi.io/cluster" -}}
{{- end -}}
{{- if and (not $.Values.kafka.giftSentPartitions) (or (eq .mode "strimzi") (and (eq .mode "job") .giftSent)) -}}
{{- fail (printf "kafka.giftSentPartitions: topicManagement.mode %s makes topics with so many partitions: say how many gift-sent has, or shall have" .mode) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/*
SIGTERM may come while a transaction is under way, which the broker ends after 15 s; then the last
cut takes at most 2.2 s and leaving the group 5 s (kafka/config, kafka/session). Usually it is 2 s in all.
Three seconds between two pods: earlier, the rooms of the last hand-over would change hands again.
Kubernetes counts from the whole second in which a pod became ready, so it takes four to have three.
*/}}
{{- define "giftcheck.validatePods" -}}
{{- if lt (int64 .Values.terminationGracePeriodSeconds) 25 -}}
{{- fail "terminationGracePeriodSeconds: a pod may need 25 s to end its transaction and leave the group: allow it 25 or more" -}}
{{- end -}}
{{- if lt (int64 .Values.minReadySeconds) 4 -}}
{{- fail "minReadySeconds: earlier than after 3 s the rooms handed over last would change hands again: allow 4 or more, for Kubernetes may count up to one less" -}}
{{- end -}}
{{- range $probe := list "startupProbe" "livenessProbe" "readinessProbe" -}}
{{- with index $.Values $probe -}}
{{- $handlers := list -}}
{{- range $handler := list "httpGet" "exec" "tcpSocket" "grpc" -}}
{{- if get (index $.Values $probe) $handler -}}
{{- $handlers = append $handlers $handler -}}
{{- end -}}
{{- end -}}
{{- if ne (len $handlers) 1 -}}
{{- fail (printf "%s: it needs exactly one of httpGet, exec, tcpSocket and grpc, not %d; to replace httpGet set it to null" $probe (len $handlers)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
