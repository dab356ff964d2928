#include <utility>

#include "app/world_parts.h"
#include "base/token_lines.h"

// What a process asks of the roles in other processes.

namespace alga::app {
namespace {

std::string without_last_slash(std::string url) {
  while (url.ends_with('/')) url.pop_back();
  return url;
}

}  // namespace

egress::ClientTls World::Parts::role_tls() const {
  return {config.text("tls.ca"), config.text("tls.client_certificate"),
          config.text("tls.client_key")};
}

std::function<Result<Secret>()> World::Parts::secret_setting(std::string name) const {
  return [this, name = std::move(name)]() -> Result<Secret> {
    TRY(std::optional<Secret> value, config.secret(name));
    return value ? token_to_show(std::move(*value)) : Secret{};
  };
}

runner::ControlPlaneLink World::Parts::link_to(const std::string& url) const {
  return {.url = without_last_slash(url),
          .token = secret_setting("runner.storage.token"),
          .tls = role_tls()};
}

/// Traces go to a collector, when one is named.
void World::Parts::build_tracing() {
  const std::string& url = config.text("telemetry.otlp_url");
  if (url.empty()) return;
  auto send = [this, to = telemetry::otlp_traces_url(url)](const std::string& body) -> Status {
    egress::ClientRequest request{.method = "POST",
                                  .url = to,
                                  .headers = {{"content-type", "application/json"}},
                                  .body = body,
                                  .timeout = std::chrono::seconds{5},
                                  .max_response_bytes = 64U << 10U,
                                  .tls = role_tls()};
    TRY(const domain::HttpResponse response, client->send_blocking(std::move(request)));
    if (response.status >= 200 && response.status < 300) return {};
    const bool busy = response.status == 429 || response.status >= 500;
    return fail(busy ? Kind::unavailable : Kind::invalid, "telemetry.refused",
                "the collector answered " + std::to_string(response.status));
  };
  spans = std::make_unique<telemetry::OtlpExporter>(telemetry::OtlpExporter::Options{},
                                                    std::move(send), metrics, log.named("traces"));
}

Result<std::vector<domain::WarmUpTarget*>> World::Parts::build_warm_up() {
  if (runner) warm_up.push_back(std::make_unique<WarmUpRunner>(*runner));
  std::vector<std::string> urls = config.list("control_plane.runners");
  if (urls.empty() && !config.text("runner.url").empty()) urls = {config.text("runner.url")};
  for (const std::string& url : urls) {
    if (!url.starts_with("http://") && !url.starts_with("https://")) {
      return fail(Kind::invalid, "config.bad_value", "control_plane.runners: no URL: " + url);
    }
    warm_up.push_back(std::make_unique<control_plane::HttpWarmUpTarget>(
        control_plane::HttpWarmUpTarget::Options{
            .url = url, .service_token = secret_setting("runner.service_token"), .tls = role_tls()},
        *client));
  }
  std::vector<domain::WarmUpTarget*> targets;
  for (const auto& target : warm_up) targets.push_back(target.get());
  return targets;
}

/// Storage, records and the keys of grants, which a runner without a database has from elsewhere.
Status World::Parts::build_lone_runner() {
  const std::string& control_plane_url = config.text("control_plane.url");
  std::string storage_url = config.text("runner.storage.url");
  if (storage_url.empty()) storage_url = control_plane_url;
  if (storage_url.empty()) storage_url = config.text("runner.registry.url");
  if (!storage_url.empty()) {
    remote_storage = std::make_unique<runner::StorageClient>(link_to(storage_url), *client);
    storage_door->target = remote_storage.get();
  }

  if (control_plane_url.empty()) {
    logged_records = std::make_unique<telemetry::LoggedRecords>(
        telemetry::LoggedRecords::Options{
            .lines_per_second = static_cast<std::uint32_t>(config.number("log.guest_lines"))},
        *clock, metrics, log.named("guest"));
    records_door->target = logged_records.get();
    return {};
  }

  fs::path folder = data / "spool";
  TRY_VOID(private_folder(folder));
  telemetry::RecordSpoolOptions spooling;
  spooling.folder = folder.string();
  spooling.max_disk_bytes = config.size("records.spool_bytes");
  TRY(spool, telemetry::RecordSpool::open(spooling, *clock, random, metrics, log.named("spool")));
  records_door->target = spool.get();
  shipper = std::make_unique<telemetry::RecordShipper>(
      *spool,
      [this, link = link_to(control_plane_url)](const telemetry::RecordSpool::Batch& batch) {
        return runner::deliver_records(*client, link, batch.lines);
      },
      metrics, log.named("records"));
  if (config.list("runner.grant_keys").empty()) {
    grant_watch = std::make_unique<runner::GrantKeyWatch>(
        *client, link_to(control_plane_url),
        [this](const runner::GrantKeys& trusted) {
          grants->set_keys(trusted.keys);
          trust_broker_keys(trusted.broker_keys);
        },
        *clock, log.named("grants"));
  }
  return {};
}

}  // namespace alga::app
