variable "name" {
  description = "What names begin with."
  type        = string
}

variable "group_name" {
  description = "The name of the Auto Scaling group."
  type        = string
}

variable "architecture" {
  description = "arm64 or x86_64: the program's."
  type        = string
}

variable "instance_types" {
  description = "Instance types of one kind of processor and, so that each counts the same, of one size."
  type        = list(string)

  validation {
    condition     = alltrue([for type in var.instance_types : can(regex("^[a-z]+[0-9]+[agi]", type))])
    error_message = "Name types whose processor is known by their letter (a, g or i), for example c7g.2xlarge."
  }

  validation {
    condition     = length(distinct([for type in var.instance_types : try(regex("^[a-z]+([0-9]+[agi])", type)[0], "")])) == 1
    error_message = "All must be of one kind of processor, such as c7g, m7g and r7g: features are the same bit for bit on one kind only."
  }

  validation {
    condition     = length(distinct([for type in var.instance_types : try(split(".", type)[1], "")])) == 1
    error_message = "All must be of one size, such as 2xlarge: the group counts instances, not cores."
  }
}

variable "max_size" {
  description = "The most executors at a time."
  type        = number

  validation {
    condition     = var.max_size >= 1
    error_message = "It must be at least 1."
  }
}

variable "on_demand_base" {
  description = "So many of them are not spot instances, and stay for as long as a run does."
  type        = number
}

variable "drain_timeout" {
  description = "How long leaving in peace may take, in seconds. A spot interruption leaves two minutes."
  type        = number

  validation {
    condition     = var.drain_timeout >= 10 && var.drain_timeout <= 7000
    error_message = "It must be 10 to 7000: a hook of Auto Scaling waits for two hours at most."
  }
}

variable "volume_gb" {
  description = "The size of the disk, encrypted: the system, fetched models and intermediate results."
  type        = number

  validation {
    condition     = var.volume_gb >= 10
    error_message = "It must be at least 10: the system takes some 3."
  }
}

variable "subnet_ids" {
  description = "The subnets, one a zone."
  type        = list(string)
}

variable "security_group_id" {
  description = "The security group."
  type        = string
}

variable "instance_profile_name" {
  description = "The instance profile."
  type        = string
}

variable "scheduler_address" {
  description = "The scheduler: HOST:PORT."
  type        = string
}

variable "port" {
  description = "The port to listen on."
  type        = number
}

variable "settings" {
  description = "More settings of executors, as environment variables."
  type        = map(string)
  default     = {}
}

variable "distribution" {
  description = "Where the program is fetched from, a tarball made by `make dist`, and its digest."
  type        = object({ bucket = string, key = string, sha256 = string })
}

variable "log_group_name" {
  description = "The log group to write to."
  type        = string
}
