variable "name" {
  description = "What names begin with."
  type        = string
}

variable "cidr_block" {
  description = "The addresses of the network."
  type        = string

  validation {
    condition     = can(cidrsubnet(var.cidr_block, 4, 15))
    error_message = "It must be an IPv4 range with room for sixteen subnets, for example 10.42.0.0/16."
  }
}

variable "zones" {
  description = "The letters of the availability zones: each is one more place to find spot instances."
  type        = list(string)

  validation {
    condition     = length(var.zones) >= 1 && length(var.zones) <= 16 && alltrue([for zone in var.zones : can(regex("^[a-z]$", zone))])
    error_message = "Name 1 to 16 zones by their letters, for example [\"a\", \"b\"]."
  }
}

variable "endpoints_in_every_zone" {
  description = "Whether logs, shells and Auto Scaling stay reachable when one zone fails, at their price for each zone."
  type        = bool
}

variable "bucket_arns" {
  description = "The buckets that hosts may reach; those of other regions can't be reached at all."
  type        = list(string)
}

variable "scheduler_port" {
  description = "The port of the scheduler."
  type        = number
}

variable "executor_port" {
  description = "The port of executors."
  type        = number
}

variable "prometheus_security_group_id" {
  description = "Who may ask for metrics; null: nobody."
  type        = string
  default     = null
}
