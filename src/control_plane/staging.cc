#include "control_plane/staging.h"

#include "base/bytes.h"
#include "blob/layout.h"
#include "control_plane/bundle_content.h"

namespace alga::control_plane {
namespace {

constexpr std::chrono::hours kPatience{24};

std::unexpected<Refusal> not_found() {
  return refuse(Kind::not_found, "publish.staging_not_found", "STAGING_NOT_FOUND",
                "there is no such upload");
}

std::unexpected<Refusal> hash_mismatch() {
  return refuse(Kind::invalid, "publish.hash_mismatch", "HASH_MISMATCH",
                "the content has another hash than declared");
}

}  // namespace

PublishResult<StagedUpload> Staging::store(const Caller& caller, const std::string& file,
                                           const std::string& filename, std::uint64_t size,
                                           const std::string& sha256,
                                           const std::optional<std::string>& declared_hash,
                                           const std::optional<std::uint64_t>& declared_size) {
  if (size == 0) {
    return refuse(Kind::invalid, "publish.empty", "BAD_REQUEST", "the upload is empty");
  }
  if (declared_size && *declared_size != size) {
    return refuse(Kind::invalid, "publish.size_mismatch", "SIZE_MISMATCH",
                  "the content has another size than declared");
  }
  if (declared_hash) {
    auto declared = ContentHash::parse(*declared_hash);
    if (!declared || declared->hex() != sha256) return hash_mismatch();
  }
  TRY(std::string name,
      checked_text(filename.empty() ? "bundle.tar.zst" : filename, "filename", 255));
  StagedUpload upload{core_.new_id(), name, size, sha256};
  // The row first, because the sweep goes by rows: the store cannot list what it holds. After a put
  // that fails the row stays, too: the store may have taken the object and lost only its answer.
  TRY_VOID(core_.db().write([&](sql::Executor& sql) {
    return sql.execute(
        "INSERT INTO bundle_staging (id, principal, filename, size_bytes, "
        "content_hash, created_at) VALUES ($1, $2, $3, $4, $5, $6)",
        {upload.id, caller.principal.id, name, size, sha256, core_.now()});
  }));
  TRY_VOID(core_.deps().bundles->put_file(blob::staging_key(upload.id), file));
  return upload;
}

PublishResult<StagedUpload> Staging::find(const Caller& caller, const std::string& key) const {
  auto id = blob::parse_staging_key(key);
  if (!id) return not_found();
  TRY(auto row, core_.db().read([&](sql::Executor& sql) {
    return sql.find(
        "SELECT id, filename, size_bytes, content_hash FROM bundle_staging WHERE id = $1 "
        "AND principal = $2 AND created_at >= $3",
        {*id, caller.principal.id, core_.now() - kPatience});
  }));
  if (!row) return not_found();
  auto [found, filename, size, hash] =
      row->as<std::string, std::string, std::uint64_t, std::string>();
  return StagedUpload{found, filename, size, hash};
}

PublishResult<void> Staging::fetch(const StagedUpload& upload,
                                   const std::filesystem::path& file) const {
  return fetch_archive(core_, blob::staging_key(upload.id), upload.content_hash, file);
}

Result<bool> Staging::discard(const Caller& caller, const std::string& key) {
  auto upload = find(caller, key);
  if (!upload) {
    if (upload.error().code == "STAGING_NOT_FOUND") return false;
    return fail(upload.error().error);
  }
  TRY_VOID(remove(upload->id));
  return true;
}

Status Staging::end(sql::Executor& sql, const std::string& id) {
  TRY_VOID(
      sql.execute("UPDATE bundle_staging SET created_at = $1 WHERE id = $2", {WallTime{}, id}));
  return {};
}

Status Staging::remove(const std::string& id) {
  Status removed = core_.deps().bundles->remove(blob::staging_key(id));
  if (!removed && removed.error().code != "blob.not_found") return removed;
  TRY_VOID(core_.db().write([&](sql::Executor& sql) {
    return sql.execute("DELETE FROM bundle_staging WHERE id = $1", {id});
  }));
  return {};
}

Result<std::uint64_t> Staging::sweep() {
  TRY(sql::Rows rows, core_.db().read([&](sql::Executor& sql) {
    return sql.query("SELECT id FROM bundle_staging WHERE created_at < $1 LIMIT 100",
                     {core_.now() - kPatience});
  }));
  for (const sql::Row& row : rows) TRY_VOID(remove(row.at<std::string>(0)));
  return rows.size();
}

}  // namespace alga::control_plane
