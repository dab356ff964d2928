#include <utility>

#include "app/world_parts.h"
#include "runner/http_install_directory.h"
#include "runner/ui_rules.h"

namespace alga::app {
namespace {

/// Scheme and authority of a URL: what `frame-ancestors` compares.
std::string origin_of(const std::string& url) {
  const std::size_t authority = url.find("://");
  if (authority == std::string::npos) return url;
  return url.substr(0, url.find('/', authority + 3));
}

}  // namespace

Status World::Parts::build_ui() {
  domain::InstallDirectory* directory = nullptr;
  if (roles.control_plane) {
    directory = &control_plane->install_directory();
  } else if (!config.text("runner.registry.url").empty()) {
    runner::HttpInstallDirectory::Options options;
    options.url = config.text("runner.registry.url");
    options.key = [this]() -> Result<Secret> {
      TRY(std::optional<Secret> key, config.secret("runner.registry.key"));
      return key ? std::move(*key) : Secret{};
    };
    options.tls = {config.text("tls.ca"), config.text("tls.client_certificate"),
                   config.text("tls.client_key")};
    install_directory = std::make_unique<runner::HttpInstallDirectory>(std::move(options), *client);
    directory = install_directory.get();
  }
  std::vector<std::string> ancestors = config.list("runner.ui.frame_ancestors");
  const std::string& here = config.text("server.public_url");
  if (ancestors.empty() && !here.empty()) ancestors.push_back(origin_of(here));
  runner::StaticUi::Options options;
  options.max_file_bytes = config.size("runner.ui.max_file_bytes");
  options.strict = config.flag("runner.ui.strict_validation");
  TRY(options.content_policy,
      runner::ui_content_policy(config.text("runner.ui.content_security_policy"), ancestors));
  ui = std::make_unique<runner::StaticUi>(std::move(options),
                                          runner::StaticUi::Dependencies{.bundles = bundles.get(),
                                                                         .directory = directory,
                                                                         .clock = clock.get(),
                                                                         .metrics = &metrics,
                                                                         .log = log.named("ui")});
  return {};
}

}  // namespace alga::app
