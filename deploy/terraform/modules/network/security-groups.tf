# driver, executor -> scheduler:50050     scheduler -> executor:50051     all -> S3 and the endpoints, by HTTPS
# Nobody is let in from outside. (Names and time come from the network itself, which no rule concerns.)

locals {
  hosts = toset(["scheduler", "executor", "driver"])

  # Who speaks to whom, and on which port.
  paths = {
    driver-scheduler   = { from = "driver", to = "scheduler", port = var.scheduler_port }
    executor-scheduler = { from = "executor", to = "scheduler", port = var.scheduler_port }
    scheduler-executor = { from = "scheduler", to = "executor", port = var.executor_port }
  }

  metrics = var.prometheus_security_group_id == null ? {} : {
    scheduler = var.scheduler_port
    executor  = var.executor_port
  }
}

resource "aws_security_group" "host" {
  #checkov:skip=CKV2_AWS_5:The modules scheduler, executors and driver attach them.
  for_each = local.hosts

  name        = "${var.name}-${each.key}"
  description = "fruitbatch ${each.key}"
  vpc_id      = aws_vpc.this.id

  tags = { Name = "${var.name}-${each.key}" }
}

resource "aws_vpc_security_group_ingress_rule" "path" {
  for_each = local.paths

  security_group_id            = aws_security_group.host[each.value.to].id
  referenced_security_group_id = aws_security_group.host[each.value.from].id
  ip_protocol                  = "tcp"
  from_port                    = each.value.port
  to_port                      = each.value.port
  description                  = "From the ${each.value.from}"
}

resource "aws_vpc_security_group_egress_rule" "path" {
  for_each = local.paths

  security_group_id            = aws_security_group.host[each.value.from].id
  referenced_security_group_id = aws_security_group.host[each.value.to].id
  ip_protocol                  = "tcp"
  from_port                    = each.value.port
  to_port                      = each.value.port
  description                  = "To the ${each.value.to}"
}

resource "aws_vpc_security_group_egress_rule" "s3" {
  for_each = local.hosts

  security_group_id = aws_security_group.host[each.key].id
  prefix_list_id    = aws_vpc_endpoint.s3.prefix_list_id
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
  description       = "S3"
}

resource "aws_vpc_security_group_egress_rule" "endpoints" {
  for_each = local.hosts

  security_group_id            = aws_security_group.host[each.key].id
  referenced_security_group_id = aws_security_group.endpoints.id
  ip_protocol                  = "tcp"
  from_port                    = 443
  to_port                      = 443
  description                  = "Logs, Systems Manager, Auto Scaling"
}

resource "aws_vpc_security_group_ingress_rule" "metrics" {
  for_each = local.metrics

  security_group_id            = aws_security_group.host[each.key].id
  referenced_security_group_id = var.prometheus_security_group_id
  ip_protocol                  = "tcp"
  from_port                    = each.value
  to_port                      = each.value
  description                  = "Metrics, for Prometheus"
}

resource "aws_security_group" "endpoints" {
  name        = "${var.name}-endpoints"
  description = "The endpoints of AWS services"
  vpc_id      = aws_vpc.this.id

  tags = { Name = "${var.name}-endpoints" }
}

resource "aws_vpc_security_group_ingress_rule" "endpoints" {
  for_each = local.hosts

  security_group_id            = aws_security_group.endpoints.id
  referenced_security_group_id = aws_security_group.host[each.key].id
  ip_protocol                  = "tcp"
  from_port                    = 443
  to_port                      = 443
  description                  = "From the ${each.key}"
}
