output "input" {
  description = "Where the photos are to be."
  value       = module.fruitbatch.input
}

output "output" {
  description = "Where the results go."
  value       = module.fruitbatch.output
}

output "start" {
  description = "The command that starts a run."
  value = join(" ", [
    "aws autoscaling set-desired-capacity --region ${var.region}",
    "--auto-scaling-group-name ${module.fruitbatch.driver_group} --desired-capacity 1",
  ])
}

output "stop" {
  description = "The command that stops a run; `start` goes on with it."
  value = join(" && ", [
    for group in [module.fruitbatch.driver_group, module.fruitbatch.executor_group] :
    "aws autoscaling set-desired-capacity --region ${var.region} --auto-scaling-group-name ${group} --desired-capacity 0"
  ])
}

output "follow" {
  description = "The command that follows the driver's log."
  value       = "aws logs tail --region ${var.region} --follow --log-stream-name-prefix driver ${module.fruitbatch.log_group}"
}

output "watch" {
  description = "The command that brings the scheduler's page to http://localhost:4040; needs Session Manager's plugin."
  value = join(" ", [
    "aws ssm start-session --region ${var.region} --target ${module.fruitbatch.scheduler_instance_id}",
    "--document-name AWS-StartPortForwardingSession --parameters portNumber=4040,localPortNumber=4040",
  ])
}
