#include "app/world.h"

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <stop_token>
#include <thread>
#include <utility>

#include "app/settings.h"
#include "app/start_checks.h"
#include "app/world_parts.h"

namespace alga::app {

namespace {

/// Aborts the store at `deadline`, unless this has ended by then: what is in hand may finish, and
/// nobody waits for a silent store any longer.
std::jthread abort_at(SteadyTime deadline, domain::BundleStore& store) {
  return std::jthread([deadline, &store](const std::stop_token& over) {
    std::mutex mutex;
    std::condition_variable_any ended;
    std::unique_lock lock(mutex);
    ended.wait_until(lock, over, deadline, [] { return false; });
    if (!over.stop_requested()) store.abort();
  });
}

}  // namespace

Roles Roles::of(const config::Config& config) {
  Roles roles;
  for (const std::string& name : config.list("server.roles")) {
    roles.control_plane |= name == "all" || name == "control-plane";
    roles.gateway |= name == "all" || name == "gateway";
    roles.runner |= name == "all" || name == "runner";
  }
  return roles;
}

fs::path World::Parts::path_or(std::string_view name, const fs::path& otherwise) const {
  const std::string& given = config.text(name);
  return given.empty() ? otherwise : fs::path(given);
}

Status World::Parts::build() {
  TRY_VOID(build_ground());
  TRY_VOID(check_files(config, clock->wall(), log));
  // A gateway alone holds no key and reads no bundle.
  if (roles.runner || roles.control_plane) {
    TRY_VOID(build_secrets());
    TRY_VOID(build_store());
    TRY_VOID(build_runner());
  }
  if (roles.control_plane || roles.gateway) {
    TRY_VOID(build_people());
    TRY_VOID(build_control_plane());
  }
  if (roles.gateway) TRY_VOID(build_gateway());
  if (roles.runner) TRY_VOID(build_ui());
  TRY_VOID(listen());
  look_around();
  return {};
}

void World::Parts::look_around() {
  Surroundings around{.store = store.get(),
                      .database = database.get(),
                      .vault = secret_parts.client.get(),
                      .transit = roles.control_plane ? secret_parts.transit.get() : nullptr,
                      .transit_mount = config.text("vault.transit_mount"),
                      .envelope_key = {},
                      .wrapping_key = {}};
  if (secrets_transport() == "vault-transit:v1") {
    around.envelope_key = config.text("vault.transit_key");
  }
  if (config.text("secrets.wrapping_keys") == "vault") {
    around.wrapping_key = config.text("vault.wrapping_key");
  }
  // Without waiting: what is away now may be there when it is needed.
  const bool queued =
      pool->submit([this, around = std::move(around)] { check_surroundings(around, *clock, log); });
  if (!queued) log.warn("what this process depends on is not checked: the pool is full");
}

Status World::Parts::build_ground() {
  data = config.text("server.data_dir");
  if (data.empty()) {
    return fail(Kind::invalid, "config.missing", "server.data_dir (or --data DIR) is needed");
  }
  data = fs::absolute(data);
  TRY_VOID(private_folder(data));
  TRY(limits, server_limits(config));
  sink = std::make_shared<telemetry::JsonLog>(
      telemetry::JsonLogOptions{.level = level_of(config.text("log.level")),
                                .format = config.text("log.format") == "text"
                                              ? telemetry::LogFormat::text
                                              : telemetry::LogFormat::json},
      clock, metrics);
  log = Logger(sink, "algad");
  pool = std::make_unique<async::BlockingPool>(config.number("server.blocking_threads"), 10'000);
  std::uint64_t threads = config.number("server.io_threads");
  io = std::make_unique<async::IoThreads>(
      threads != 0 ? threads : std::max(1U, std::thread::hardware_concurrency()), "alga-io");
  const egress::CurlLoopOptions all_for_one{.max_pool_lookups = 256, .max_owner_lookups = 256};
  own_loop = std::make_shared<egress::CurlLoop>(all_for_one, metrics);
  client = std::make_unique<egress::HttpClient>(own_loop);
  build_tracing();
  return {};
}

World::World(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
World::~World() = default;

Result<std::unique_ptr<World>> World::create(const config::Config& config) {
  auto parts = std::make_unique<Parts>(config);
  TRY_VOID(parts->build());
  return std::unique_ptr<World>(new World(std::move(parts)));
}

std::uint16_t World::port() const { return parts_->server->port(); }

void World::stop() {
  SteadyTime deadline = parts_->clock->steady() + parts_->config.duration("server.drain_time");
  parts_->log.info("stopping");
  std::jthread patience;
  if (parts_->store) patience = abort_at(deadline, *parts_->store);
  // Before the listeners wait for what is in hand: another server may have a place right now.
  if (parts_->engine) parts_->engine->refuse_waiting();
  parts_->drain_listeners(deadline);
  if (parts_->runner) parts_->runner->drain(deadline);
  if (parts_->engine) parts_->engine->stop(deadline);
  SteadyTime last = std::max(deadline, parts_->clock->steady() + std::chrono::seconds{5});
  if (parts_->control_plane) parts_->control_plane->stop(last);
  if (parts_->store) parts_->store->abort();
  if (parts_->spool) parts_->spool->flush(last);
  if (parts_->shipper && !parts_->spool->wait_delivered(last)) {
    parts_->log.warn("records are left for the next start");
  }
  if (parts_->opening_pool) parts_->opening_pool->close();
  if (parts_->bundles) parts_->bundles->close();
  if (parts_->metrics_server) parts_->metrics_server->drain(parts_->clock->steady());
  parts_->pool->close();
  parts_->io->stop();
  parts_->log.info("stopped");
  parts_->sink->flush(last);
}

}  // namespace alga::app
