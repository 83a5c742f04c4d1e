variable "name" {
  description = "What the names of everything begin with; also of the private domain NAME.internal."
  type        = string
  default     = "fruitbatch"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,30}[a-z0-9]$", var.name))
    error_message = "It must be lower case letters, digits and hyphens, 2 to 32 of them, beginning with a letter."
  }
}

# --- the program, the model, the photos

variable "distribution_file" {
  description = "The tarball that `make dist` makes, for the processor of the executors' instance types."
  type        = string
}

variable "model_files" {
  description = "Models, as `fruitbatch model fetch` leaves them in its cache folder; none for models that are in the bucket already."
  type        = set(string)
}

variable "bucket_name" {
  description = "The name of the bucket to make, which nobody else in the world may have."
  type        = string
}

variable "bucket_force_destroy" {
  description = "Whether `terraform destroy` deletes the bucket with all that is in it."
  type        = bool
  default     = false
}

variable "keep_old_versions_days" {
  description = "For how long an object that was overwritten or deleted can be had back."
  type        = number
  default     = 7
}

variable "input" {
  description = "Where the photos are: s3://bucket/prefix/, of this region; null: below photos/ in the bucket."
  type        = string
  default     = null

  validation {
    condition     = var.input == null || can(regex("^s3://[^/*]+/([^*]+/)?$", var.input))
    error_message = "It must be s3://bucket/prefix/, with a slash at its end."
  }
}

variable "output" {
  description = "Where the results go: s3://bucket/prefix/, of this region; null: below out/ in the bucket."
  type        = string
  default     = null

  validation {
    condition     = var.output == null || can(regex("^s3://[^/*]+/[^*]+/$", var.output))
    error_message = "It must be s3://bucket/prefix/, with a slash at its end."
  }
}

variable "run_settings" {
  description = "More settings of runs, as environment variables: FRUITBATCH_N_CLUSTERS = \"6\" is --n-clusters 6. No secrets."
  type        = map(string)
  default     = {}
}

# --- executors

variable "executors" {
  description = "How many executors a run has."
  type        = number
  default     = 4
}

variable "executors_on_demand" {
  description = "How many of them are not spot instances."
  type        = number
  default     = 0

  validation {
    condition     = var.executors_on_demand >= 0 && var.executors_on_demand <= var.executors
    error_message = "It must be 0 to `executors`."
  }
}

variable "executor_instance_types" {
  description = "Instance types of one kind of processor and one size. The default ones are Graviton3, with 8 cores."
  type        = list(string)
  default = [
    "c7g.2xlarge",
    "c7gd.2xlarge",
    "c7gn.2xlarge",
    "m7g.2xlarge",
    "m7gd.2xlarge",
    "r7g.2xlarge",
    "r7gd.2xlarge",
  ]

  validation {
    condition     = length(var.executor_instance_types) > 0
    error_message = "Name at least one."
  }
}

variable "executor_volume_gb" {
  description = "The size of an executor's disk."
  type        = number
  default     = 20
}

variable "executor_settings" {
  description = "More settings of executors, as environment variables. No secrets."
  type        = map(string)
  default     = {}
}

variable "drain_timeout" {
  description = "How long an executor that is asked to leave may take, in seconds. A spot interruption leaves two minutes."
  type        = number
  default     = 100
}

# --- scheduler and driver

variable "scheduler_instance_type" {
  description = "The scheduler's instance type; null: t4g.small, or t3a.small for x86-64."
  type        = string
  default     = null
}

variable "scheduler_settings" {
  description = "More settings of the scheduler, as environment variables. No secrets."
  type        = map(string)
  default     = {}
}

variable "driver_instance_type" {
  description = "The driver's instance type; null: t4g.medium, or t3a.medium for x86-64, good for half a million photos."
  type        = string
  default     = null
}

# --- the network and what is around

variable "cidr_block" {
  description = "The addresses of the network."
  type        = string
  default     = "10.42.0.0/16"
}

variable "zones" {
  description = "The letters of the availability zones: each is one more place to find spot instances."
  type        = list(string)
  default     = ["a", "b", "c"]
}

variable "endpoints_in_every_zone" {
  description = "Whether logs, shells and Auto Scaling stay reachable when one zone fails, at their price for each zone."
  type        = bool
  default     = false
}

variable "prometheus_security_group_id" {
  description = "The security group, in this network, of a Prometheus that asks for metrics; null: none."
  type        = string
  default     = null
}

variable "log_retention_days" {
  description = "For how long logs are kept."
  type        = number
  default     = 14
}
