output "bucket" {
  description = "The bucket."
  value       = module.bucket.name
}

output "input" {
  description = "Where the photos are to be."
  value       = local.input
}

output "output" {
  description = "Where the results go."
  value       = local.output
}

output "log_group" {
  description = "Where all hosts log."
  value       = aws_cloudwatch_log_group.this.name
}

output "vpc_id" {
  description = "The network, for a Prometheus in it."
  value       = module.network.vpc_id
}

output "scheduler_address" {
  description = "The scheduler, as hosts of the network find it."
  value       = module.scheduler.address
}

output "scheduler_instance_id" {
  description = "The scheduler's instance, for Session Manager."
  value       = module.scheduler.instance_id
}

output "executor_group" {
  description = "The Auto Scaling group of the executors."
  value       = module.executors.group_name
}

output "driver_group" {
  description = "The Auto Scaling group of the driver."
  value       = module.driver.group_name
}

output "executor_policy_arn" {
  description = "What a role for executors elsewhere, on Kubernetes for example, needs."
  value       = module.iam.executor_policy_arn
}

output "driver_policy_arn" {
  description = "What a role for drivers elsewhere, on Kubernetes for example, needs."
  value       = module.iam.driver_policy_arn
}
