# A network without a way out. Hosts have private addresses only and reach nothing but AWS's own services, by endpoints:
# - S3, by a gateway endpoint, which is free and where all the traffic goes: the program, the model, photos, results, and the
#   packages of Amazon Linux.
# - CloudWatch Logs, Systems Manager (a shell without an open port) and Auto Scaling (whose hook waits for executors to leave),
#   by interface endpoints in one zone: some four cents an hour together, whatever the size of the fleet.
#
# The alternatives cost more or protect less. A NAT gateway is no cheaper, counts every byte and opens the way out. Public
# addresses (half a cent an hour for each host) are cheaper below eight hosts, but then nothing but the hosts' own good
# behaviour keeps inside what they read. And all of it can be destroyed between runs, but for the bucket.

data "aws_caller_identity" "current" {}

data "aws_partition" "current" {}

data "aws_region" "current" {}

locals {
  region    = data.aws_region.current.region
  partition = data.aws_partition.current.partition
  # Named, not looked up: a zone more in the region must not move the others' subnets.
  zones = [for letter in var.zones : "${local.region}${letter}"]
}

resource "aws_vpc" "this" {
  #checkov:skip=CKV2_AWS_11:Nothing but the paths below is open, and flow logs of every photo that is read would cost more than the network does.
  cidr_block           = var.cidr_block
  enable_dns_hostnames = true
  enable_dns_support   = true

  tags = { Name = var.name }
}

# Whoever is put into the default group by mistake can't speak to anybody.
resource "aws_default_security_group" "closed" {
  vpc_id = aws_vpc.this.id
}

resource "aws_subnet" "private" {
  for_each = { for index, zone in local.zones : zone => index }

  vpc_id            = aws_vpc.this.id
  availability_zone = each.key
  # Large ones: 4,091 hosts each.
  cidr_block = cidrsubnet(var.cidr_block, 4, each.value)

  tags = { Name = "${var.name}-${each.key}" }
}

resource "aws_route_table" "private" {
  vpc_id = aws_vpc.this.id

  tags = { Name = var.name }
}

resource "aws_route_table_association" "private" {
  for_each = aws_subnet.private

  route_table_id = aws_route_table.private.id
  subnet_id      = each.value.id
}

resource "aws_vpc_endpoint" "s3" {
  vpc_id            = aws_vpc.this.id
  service_name      = "com.amazonaws.${local.region}.s3"
  vpc_endpoint_type = "Gateway"
  route_table_ids   = [aws_route_table.private.id]
  policy            = data.aws_iam_policy_document.s3_endpoint.json

  tags = { Name = "${var.name}-s3" }
}

data "aws_iam_policy_document" "s3_endpoint" {
  statement {
    sid       = "OurBuckets"
    actions   = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:ListBucket"]
    resources = flatten([for arn in var.bucket_arns : [arn, "${arn}/*"]])

    principals {
      type        = "*"
      identifiers = ["*"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:PrincipalAccount"
      values   = [data.aws_caller_identity.current.account_id]
    }
  }

  # Where Amazon Linux 2023 has its packages; asked for without a signature.
  statement {
    sid       = "AmazonLinux"
    actions   = ["s3:GetObject"]
    resources = ["arn:${local.partition}:s3:::al2023-repos-${local.region}-*/*"]

    principals {
      type        = "*"
      identifiers = ["*"]
    }
  }
}

resource "aws_vpc_endpoint" "interface" {
  for_each = toset(["autoscaling", "logs", "ssm", "ssmmessages"])

  vpc_id              = aws_vpc.this.id
  service_name        = "com.amazonaws.${local.region}.${each.key}"
  vpc_endpoint_type   = "Interface"
  private_dns_enabled = true
  security_group_ids  = [aws_security_group.endpoints.id]
  # If this one zone fails, a run goes on: what it needs is S3.
  subnet_ids = [
    for zone in slice(local.zones, 0, var.endpoints_in_every_zone ? length(local.zones) : 1) : aws_subnet.private[zone].id
  ]

  tags = { Name = "${var.name}-${each.key}" }
}
