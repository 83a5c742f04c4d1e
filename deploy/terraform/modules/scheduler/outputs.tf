output "address" {
  description = "Where executors and drivers find it: HOST:PORT."
  value       = "${aws_route53_record.this.name}:${var.port}"
}

output "instance_id" {
  description = "The instance."
  value       = aws_instance.this.id
}
