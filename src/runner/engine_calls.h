#pragma once

#include <chrono>
#include <filesystem>
#include <memory>
#include <string>

#include "async/task.h"
#include "engine/engine.h"

// The engine's callbacks as coroutines. The engine outlives them.

namespace alga::runner {

/// Waits for the component at most `cold_wait`; then `engine.cold` with advice when to come back.
/// The compile goes on in the background. For `line` see Engine::load().
[[nodiscard]] async::Task<Result<std::shared_ptr<engine::Component>>> load_component(
    engine::Engine* engine, ContentHash hash, std::filesystem::path wasm,
    std::shared_ptr<const void> lease, std::string line, std::chrono::milliseconds cold_wait);

/// Runs it to its end. Cancelling the coroutine cancels the execution and waits for its end, so
/// that the outcome is known in every case.
[[nodiscard]] async::Task<engine::Outcome> run_component(
    engine::Engine* engine, std::shared_ptr<engine::Component> component,
    engine::Invocation invocation);

}  // namespace alga::runner
