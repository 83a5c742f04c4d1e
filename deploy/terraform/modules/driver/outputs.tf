output "group_name" {
  description = "The Auto Scaling group: a desired capacity of 1 starts a run."
  value       = aws_autoscaling_group.this.name
}
