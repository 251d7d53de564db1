{{/* Pod Security "restricted" and a little more; the image's own user. */}}
{{- define "overworld.podSecurity" -}}
runAsNonRoot: true
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "overworld.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{/* The database's URL comes from the Secret alone: into no ConfigMap, no manifest, no release record. */}}
{{- define "overworld.databaseUrl" -}}
- name: OVERWORLD_DATABASE_URL
  valueFrom:
    secretKeyRef: {name: {{ .Values.database.secretName }}, key: {{ .Values.database.secretKey }}}
{{- end }}

{{/* What web and worker know each other by, and, for the worker alone, the keys of saves. */}}
{{- define "overworld.workerSecret" -}}
{{- $root := index . 0 -}}
{{- $names := dict "OVERWORLD_WORKER_SECRET" "link" -}}
{{- if and (eq (index . 1) "worker") $root.Values.saves.store -}}
{{- $keys := dict "OVERWORLD_SAVE_KEYS" "save-keys" "OVERWORLD_SAVE_STORE_KEY_ID" "store-key-id" "OVERWORLD_SAVE_STORE_KEY" "store-key" -}}
{{- $names = merge $names $keys -}}
{{- end -}}
{{- range $name, $key := $names }}
- name: {{ $name }}
  valueFrom:
    secretKeyRef: {name: {{ $root.Values.worker.secretName }}, key: {{ $key }}
      {{- if and $root.Values.recovering (eq $key "save-keys") }}, optional: true{{ end }}}
{{- end }}
{{- end }}

{{- define "overworld.pullSecrets" -}}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
{{- range . }}
  - name: {{ . }}
{{- end }}
{{- end }}
{{- end }}

{{/*
The Deployment of a role. Takes a list: the root, the role, its values. What differs between the roles: the ports, the
probes, and who has an identity at Azure.
*/}}
{{- define "overworld.deployment" -}}
{{- $root := index . 0 -}}
{{- $role := index . 1 -}}
{{- $values := index . 2 -}}
{{- $name := printf "%s-%s" (include "overworld.name" $root) $role -}}
{{- $isWeb := eq $role "web" -}}
{{- $isWorker := eq $role "worker" -}}
{{- /* Of all roles only the worker's pod is there then, and waits to be told. */ -}}
{{- $waits := $root.Values.recovering -}}
{{- $hasAuthority := and $isWorker $root.Values.saves.authority -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ $name }}
  namespace: {{ $root.Release.Namespace }}
  labels: {{- include "overworld.labels" (list $root $role) | nindent 4 }}
spec:
  replicas: {{ if $waits }}{{ ternary 1 0 $isWorker }}{{ else }}{{ $values.replicas }}{{ end }}
  selector:
    matchLabels: {{- include "overworld.selector" (list $root $role) | nindent 6 }}
  strategy:
    rollingUpdate: {maxSurge: 1, maxUnavailable: 0}
  template:
    metadata:
      labels:
        {{- include "overworld.labels" (list $root $role) | nindent 8 }}
        {{- if and (eq $role "controller") (eq $root.Values.cloud "azure") }}
        azure.workload.identity/use: "true"
        {{- end }}
      annotations:
        # Settings are read once, at the start of a process: new ones need new pods.
        overworld/settings: {{ cat (include "overworld.settings" $root) $root.Values.saves.authority | sha256sum | trunc 16 | quote }}
    spec:
      serviceAccountName: {{ $name }}
      enableServiceLinks: false
      {{- include "overworld.pullSecrets" $root | nindent 6 }}
      securityContext: {{- include "overworld.podSecurity" $root | nindent 8 }}
      terminationGracePeriodSeconds: {{ ternary 2 30 (and $waits $isWorker) }}
      {{- with $values.nodeSelector }}
      nodeSelector: {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $values.tolerations }}
      tolerations: {{- toYaml . | nindent 8 }}
      {{- end }}
      topologySpreadConstraints:
        - maxSkew: 1
          topologyKey: kubernetes.io/hostname
          whenUnsatisfiable: ScheduleAnyway
          labelSelector:
            matchLabels: {{- include "overworld.selector" (list $root $role) | nindent 14 }}
      containers:
        - name: {{ $role }}
          image: {{ include "overworld.image" $root }}
          imagePullPolicy: {{ $root.Values.image.pullPolicy }}
          {{- if $waits }}
          command: [sleep, infinity]
          {{- else }}
          args: [{{ $role }}]
          {{- end }}
          envFrom:
            - configMapRef: {name: {{ include "overworld.name" $root }}-settings}
          env:
            {{- include "overworld.databaseUrl" $root | nindent 12 }}
            - {name: HOME, value: /tmp}
            {{- if or $isWeb $isWorker }}
            {{- include "overworld.workerSecret" (list $root $role) | nindent 12 }}
            {{- end }}
            {{- if $isWorker }}
            - {name: OVERWORLD_WORKER_LISTEN, value: "0.0.0.0:8471"}
            {{- end }}
            {{- if $hasAuthority }}
            - {name: OVERWORLD_SAVE_STORE_CA_FILE, value: /etc/overworld/authority.pem}
            {{- end }}
          {{- if $isWeb }}
          ports:
            - {name: http, containerPort: 8470}
          startupProbe:
            httpGet: {path: /livez, port: http}
            periodSeconds: 1
            failureThreshold: 60
          readinessProbe:
            httpGet: {path: /readyz, port: http}
            periodSeconds: 5
            timeoutSeconds: 3
          livenessProbe:
            httpGet: {path: /livez, port: http}
            periodSeconds: 10
            timeoutSeconds: 5
          lifecycle:
            # So that who still sends requests here has heard that it goes.
            preStop:
              sleep: {seconds: 5}
          {{- else if or $isWorker $root.Values.metrics.enabled }}
          ports:
            {{- if $isWorker }}
            - {name: files, containerPort: 8471}
            {{- end }}
            {{- if $root.Values.metrics.enabled }}
            - {name: metrics, containerPort: {{ $root.Values.metrics.port }}}
            {{- end }}
          {{- if not $waits }}
          readinessProbe:
            tcpSocket: {port: {{ ternary "files" "metrics" $isWorker }}}
            periodSeconds: 5
          {{- end }}
          {{- end }}
          resources: {{- toYaml $values.resources | nindent 12 }}
          securityContext: {{- include "overworld.containerSecurity" $root | nindent 12 }}
          volumeMounts:
            - {name: tmp, mountPath: /tmp}
            {{- if $hasAuthority }}
            - {name: save-store, mountPath: /etc/overworld, readOnly: true}
            {{- end }}
      volumes:
        - name: tmp
          # The worker's holds what restic remembers of the store: 4 GiB at a start.
          emptyDir: {sizeLimit: {{ ternary "8Gi" "256Mi" $isWorker }}}
        {{- if $hasAuthority }}
        - name: save-store
          configMap: {name: {{ include "overworld.name" $root }}-save-store}
        {{- end }}
{{- end }}
