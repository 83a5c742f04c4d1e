output "instance_profile_names" {
  description = "The instance profiles, by `scheduler`, `executor` and `driver`."
  # Once the roles can do all that they are for: an instance begins with fetching the program.
  value = { for role, profile in aws_iam_instance_profile.this : role => profile.name }
  depends_on = [
    aws_iam_role_policy.host,
    aws_iam_role_policy.executor_group,
    aws_iam_role_policy.driver_group,
    aws_iam_role_policy_attachment.executor_data,
    aws_iam_role_policy_attachment.driver_data,
  ]
}

output "executor_policy_arn" {
  description = "Read photos and models: also for the role of a Kubernetes service account."
  value       = aws_iam_policy.executor_data.arn
}

output "driver_policy_arn" {
  description = "Read photos, read and write results and models: also for the role of a Kubernetes service account."
  value       = aws_iam_policy.driver_data.arn
}
