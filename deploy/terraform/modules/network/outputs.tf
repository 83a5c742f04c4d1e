output "vpc_id" {
  description = "The network."
  value       = aws_vpc.this.id
}

output "subnet_ids" {
  description = "The subnets, one a zone, the one with the endpoints first."
  value       = [for zone in local.zones : aws_subnet.private[zone].id]
  # Once there is a way from them to S3: an instance begins with fetching the program.
  depends_on = [
    aws_route_table_association.private,
    aws_vpc_endpoint.s3,
    aws_vpc_security_group_egress_rule.s3,
  ]
}

output "security_group_ids" {
  description = "The security groups, by `scheduler`, `executor` and `driver`."
  value       = { for role, group in aws_security_group.host : role => group.id }
}
