#include "control_plane/artefact_inventory.h"

#include <utility>

namespace alga::control_plane {
namespace {

constexpr std::uint32_t retry_after_removal_s = 5;

Counter& evictions(Metrics& metrics, std::string_view of) {
  return metrics.counter("alga_shared_artefacts_evicted_total",
                         "Compiled artefacts removed from the bundle store to make room, by "
                         "whether they were used within the hour",
                         {{"of", of}});
}

/// As domain::ArtefactCompiler::engine() answers it.
bool is_fingerprint(std::string_view text) {
  return text.size() == 16 && text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

/// What nobody finished, or nobody finished removing.
Result<std::optional<sql::Row>> find_stale(sql::Executor& sql, WallTime now) {
  return sql.find(
      "SELECT content_hash, engine, size_bytes, used_at FROM compiled_artefact WHERE leaving_at < "
      "$1 OR (leaving_at IS NULL AND size_bytes = 0 AND used_at < $2) ORDER BY used_at, "
      "content_hash, engine LIMIT 1",
      {now - ArtefactInventory::longest_removal, now - ArtefactInventory::longest_compile});
}

/// What was used longest ago, if there is more than `bound`.
Result<std::optional<sql::Row>> find_over(sql::Executor& sql, std::uint64_t bound) {
  TRY(const sql::Rows sum, sql.query("SELECT CAST(coalesce(sum(size_bytes), 0) AS BIGINT) FROM "
                                     "compiled_artefact WHERE leaving_at IS NULL"));
  if (sum.at(0).at<std::uint64_t>(0) <= bound) return std::optional<sql::Row>{};
  return sql.find(
      "SELECT content_hash, engine, size_bytes, used_at FROM compiled_artefact WHERE leaving_at IS "
      "NULL AND size_bytes > 0 ORDER BY used_at, content_hash, engine LIMIT 1");
}

Result<std::optional<sql::Row>> find_next(sql::Executor& sql, WallTime now, std::uint64_t bound) {
  TRY(auto stale, find_stale(sql, now));
  if (stale) return stale;
  return find_over(sql, bound);
}

}  // namespace

ArtefactInventory::ArtefactInventory(const Core& core)
    : core_(core),
      bytes_(core.deps().metrics->gauge("alga_shared_artefact_bytes",
                                        "Compiled artefacts in the bundle store, of all engines")),
      evicted_idle_(evictions(*core.deps().metrics, "idle")),
      evicted_used_(evictions(*core.deps().metrics, "used")) {}

Result<std::uint64_t> ArtefactInventory::prepare(const ContentHash& bundle,
                                                 const std::string& component_file) {
  TRY_VOID(begin(bundle));
  TRY(const std::uint64_t bytes, core_.deps().compiler->prepare(bundle, component_file));
  if (bytes == 0) return bytes;
  TRY_VOID(finish(bundle, bytes));
  if (const auto made_room = bound(); !made_room) {
    core_.log().warn("compiled artefacts in the bundle store could not be bounded",
                     {{"code", made_room.error().code}});
  }
  return bytes;
}

Status ArtefactInventory::begin(const ContentHash& bundle) {
  TRY(const std::uint64_t rows, core_.db().write([&](sql::Executor& sql) {
    return sql.execute(
        "INSERT INTO compiled_artefact (content_hash, engine, size_bytes, used_at) VALUES ($1, $2, "
        "0, $3) ON CONFLICT (content_hash, engine) DO UPDATE SET used_at = excluded.used_at WHERE "
        "compiled_artefact.leaving_at IS NULL",
        {bundle.hex(), core_.deps().compiler->engine(), core_.now()});
  }));
  if (rows == 1) return {};
  return fail(Error{Kind::unavailable, "compile.unavailable",
                    "the former artefact of this bundle is being removed", retry_after_removal_s});
}

Status ArtefactInventory::finish(const ContentHash& bundle, std::uint64_t bytes) {
  const std::string engine = core_.deps().compiler->engine();
  TRY(const std::uint64_t rows, core_.db().write([&](sql::Executor& sql) {
    return sql.execute(
        "UPDATE compiled_artefact SET size_bytes = $1, used_at = $2 WHERE content_hash = $3 AND "
        "engine = $4 AND leaving_at IS NULL",
        {bytes, core_.now(), bundle.hex(), engine});
  }));
  if (rows == 1) return {};
  return fail(Error{Kind::unavailable, "compile.unavailable",
                    "the artefact was removed while it was stored", retry_after_removal_s});
}

Result<bool> ArtefactInventory::is_prepared(const ContentHash& bundle) const {
  TRY(const auto counted, core_.db().read([&](sql::Executor& sql) {
    return sql.find(
        "SELECT 1 FROM compiled_artefact WHERE content_hash = $1 AND engine = $2 AND size_bytes > "
        "0 AND leaving_at IS NULL",
        {bundle.hex(), core_.deps().compiler->engine()});
  }));
  if (!counted) return false;
  return core_.deps().compiler->is_prepared(bundle);
}

void ArtefactInventory::used(const ContentHash& bundle) {
  const std::scoped_lock lock(mutex_);
  used_.insert(bundle);
}

Result<std::vector<ContentHash>> ArtefactInventory::write_use() {
  std::set<ContentHash> noted;
  {
    const std::scoped_lock lock(mutex_);
    noted.swap(used_);
  }
  if (noted.empty()) return std::vector<ContentHash>{};
  const std::string engine = core_.deps().compiler->engine();
  auto missing = core_.db().write([&](sql::Executor& sql) -> Result<std::vector<ContentHash>> {
    std::vector<ContentHash> without;
    for (const ContentHash& bundle : noted) {
      TRY(const std::uint64_t rows,
          sql.execute("UPDATE compiled_artefact SET used_at = $1 WHERE content_hash = $2 AND "
                      "engine = $3 AND size_bytes > 0 AND leaving_at IS NULL",
                      {core_.now(), bundle.hex(), engine}));
      if (rows == 0) without.push_back(bundle);
    }
    return without;
  });
  if (!missing) {
    const std::scoped_lock lock(mutex_);
    used_.merge(noted);
  }
  return missing;
}

Result<bool> ArtefactInventory::anything_to_remove() const {
  const WallTime now = core_.now();
  TRY(const sql::Rows rows, core_.db().read([&](sql::Executor& sql) {
    return sql.query(
        "SELECT CAST(coalesce(sum(size_bytes), 0) AS BIGINT), count(CASE WHEN leaving_at < $1 OR "
        "(size_bytes = 0 AND used_at < $2) THEN 1 END) FROM compiled_artefact",
        {now - longest_removal, now - longest_compile});
  }));
  const auto [bytes, stale] = rows.at(0).as<std::uint64_t, std::uint64_t>();
  bytes_.set(static_cast<double>(bytes));
  return stale != 0 || bytes > core_.options().artefact_bytes;
}

Result<std::optional<ArtefactInventory::Artefact>> ArtefactInventory::claim(sql::Executor& sql,
                                                                            const sql::Row& row,
                                                                            WallTime now) {
  const auto [hex, engine, bytes, used_at] =
      row.as<std::string, std::string, std::uint64_t, WallTime>();
  const auto bundle = ContentHash::parse(hex);
  if (!bundle || !is_fingerprint(engine)) {
    TRY_VOID(sql.execute("DELETE FROM compiled_artefact WHERE content_hash = $1 AND engine = $2",
                         {hex, engine}));
    return std::optional<Artefact>{};
  }
  TRY_VOID(sql.execute(
      "UPDATE compiled_artefact SET leaving_at = $1 WHERE content_hash = $2 AND engine = $3",
      {now, hex, engine}));
  return std::optional{Artefact{*bundle, engine, bytes, used_at}};
}

Result<std::optional<ArtefactInventory::Artefact>> ArtefactInventory::take_one() const {
  return core_.db().write([&](sql::Executor& sql) -> Result<std::optional<Artefact>> {
    while (true) {
      const WallTime now = core_.now();
      TRY(const auto row, find_next(sql, now, core_.options().artefact_bytes));
      if (!row) return std::optional<Artefact>{};
      TRY(auto claimed, claim(sql, *row, now));
      if (claimed) return claimed;
    }
  });
}

Status ArtefactInventory::remove(const Artefact& artefact) {
  TRY_VOID(core_.deps().compiler->discard(artefact.bundle, artefact.engine));
  TRY_VOID(core_.db().write([&](sql::Executor& sql) {
    return sql.execute(
        "DELETE FROM compiled_artefact WHERE content_hash = $1 AND engine = $2 AND leaving_at IS "
        "NOT NULL",
        {artefact.bundle.hex(), artefact.engine});
  }));
  if (artefact.bytes == 0) return {};
  const bool late = core_.now() - artefact.used_at < lately;
  (late ? evicted_used_ : evicted_idle_).add();
  if (late) {
    core_.log().warn("a compiled artefact that is in use had to make room in the bundle store",
                     {{"bundle", artefact.bundle.hex()},
                      {"bytes", artefact.bytes},
                      {"bound", core_.options().artefact_bytes}});
  }
  return {};
}

Result<bool> ArtefactInventory::bound() {
  for (int removed = 0; removed < most_removals; ++removed) {
    TRY(const bool anything, anything_to_remove());
    if (!anything) return false;
    TRY(const std::optional<Artefact> artefact, take_one());
    if (!artefact) return false;
    TRY_VOID(remove(*artefact));
  }
  return anything_to_remove();
}

}  // namespace alga::control_plane
