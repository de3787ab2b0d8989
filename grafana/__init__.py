"""What operators watch: dashboards, their source and how Grafana is provisioned with them."""
