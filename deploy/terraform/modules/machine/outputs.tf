output "user_data" {
  description = "The user data, not encoded."
  value = "#cloud-config\n${yamlencode({
    write_files = local.files
    runcmd      = [["systemctl", "daemon-reload"], ["systemctl", "start", "--no-block", "fruitbatch-install.service"]]
  })}"
}
