#include "control_plane/publishing.h"

#include <fmt/format.h>

#include <fstream>

#include "base/bytes.h"
#include "blob/layout.h"
#include "control_plane/audit.h"
#include "control_plane/bundle_content.h"
#include "control_plane/cell.h"
#include "control_plane/publishers.h"
#include "json/decode.h"

namespace alga::control_plane {
namespace {

struct Publisher {
  std::string id;
  std::string name;
};

struct Signature {
  std::string key_id;
  std::string bytes;
};

std::unexpected<Refusal> version_exists() {
  return refuse(Kind::conflict, "publish.version_exists", "EXTENSION_VERSION_ALREADY_EXISTS",
                "this version has been published; versions never change");
}

std::unexpected<Refusal> bad_signature(std::string message) {
  return refuse(Kind::denied, "publish.bad_signature", "SIGNATURE_INVALID", std::move(message));
}

PublishResult<Signature> parse_signature(const std::string& text) {
  auto malformed = [] { return bad_signature("signature.text is not a signature"); };
  auto document = json::Document::parse(text, {.max_bytes = 4096, .max_depth = 4});
  if (!document || !document->value().is_object()) return malformed();
  json::Object root = document->root();
  auto algorithm = root.string("algorithm");
  auto key_id = root.string("key_id");
  auto signature = root.string("signature");
  if (!algorithm || !key_id || !signature || !root.finish() || *algorithm != "ed25519") {
    return malformed();
  }
  auto bytes = base64_decode(*signature);
  if (!bytes) return malformed();
  return Signature{*key_id, *bytes};
}

/// One bundle on its way to publication.
class Finalization {
 public:
  Finalization(const Core& core, ArtefactInventory& artefacts, const Caller& caller,
               BundleContent content, std::filesystem::path archive, StagedUpload upload)
      : core_(core),
        artefacts_(artefacts),
        caller_(caller),
        content_(std::move(content)),
        archive_(std::move(archive)),
        upload_(std::move(upload)) {}

  PublishResult<Publication> run(const std::optional<std::string>& signature_text) {
    TRY_VOID(identify());
    TRY_VOID(check_free());
    TRY_VOID(check_signature(signature_text));
    TRY_VOID(inspect());
    TRY_VOID(compile());
    TRY_VOID(store_bundle());
    return insert();
  }

 private:
  const domain::Manifest& manifest() const { return content_.manifest; }

  /// Who publishes, and that it may.
  PublishResult<void> identify() {
    const auto& own = caller_.principal.publisher;
    std::string named = to_lower(manifest().publisher.value_or(own.value_or("")));
    if (named.empty()) {
      return refuse(Kind::invalid, "publish.no_publisher", "INVALID_MANIFEST",
                    "an operator publishes under the publisher that the manifest names");
    }
    if (own && named != *own) {
      return refuse(Kind::denied, "publish.foreign_publisher", "RBAC_FORBIDDEN",
                    "the manifest names another publisher");
    }
    TRY(auto row, core_.db().read([&](sql::Executor& sql) {
      return sql.find("SELECT id, name FROM publishers WHERE name = $1", {named});
    }));
    if (!row) {
      return refuse(Kind::not_found, "publisher.not_found", "PUBLISHER_NOT_FOUND",
                    "there is no such publisher");
    }
    std::tie(publisher_.id, publisher_.name) = row->as<std::string, std::string>();
    slug_ = domain::extension_slug(publisher_.name, manifest().name);
    if (slug_.empty() || !is_identifier(slug_)) {
      return refuse(Kind::invalid, "publish.bad_slug", "INVALID_MANIFEST",
                    "publisher and name do not make a usable slug");
    }
    return {};
  }

  /// Says early what the unique index would say at the end.
  PublishResult<void> check_free() {
    if (manifest().version.any_patch) return {};
    TRY(auto row, core_.db().read([&](sql::Executor& sql) {
      return sql.find(
          "SELECT 1 FROM extension_version v JOIN extension_registry e ON e.id = "
          "v.extension_id WHERE e.slug = $1 AND v.version = $2",
          {slug_, manifest().version.str()});
    }));
    if (row) return version_exists();
    return {};
  }

  PublishResult<void> check_signature(const std::optional<std::string>& text) {
    if (!text) {
      TRY(auto row, core_.db().read([&](sql::Executor& sql) {
        return sql.find(
            "SELECT 1 FROM publisher_keys WHERE publisher_id = $1 AND revoked_at IS NULL",
            {publisher_.id});
      }));
      if (!row && !core_.options().publishing.require_signatures) return {};
      return refuse(Kind::denied, "publish.signature_required", "SIGNATURE_REQUIRED",
                    "bundles of this publisher must be signed");
    }
    TRY(Signature signature, parse_signature(*text));
    TRY(auto key, core_.db().read([&](sql::Executor& sql) {
      return trusted_key(sql, publisher_.id, signature.key_id);
    }));
    if (!key) return bad_signature("the publisher has no such key");
    if (!key->verify(as_bytes(bundle_signature_text(upload_.content_hash)),
                     as_bytes(signature.bytes))) {
      return bad_signature("the signature is not of this bundle");
    }
    signature_ = std::move(signature);
    return {};
  }

  PublishResult<void> inspect() {
    if (!content_.component) return {};
    auto report = core_.deps().inspector->inspect(content_.component->string());
    if (!report) {
      const Error& cause = report.error();
      if (cause.kind == Kind::unavailable || cause.kind == Kind::internal) {
        return std::unexpected(Refusal{cause});
      }
      return refuse(Kind::unprocessable, cause.code, "INVALID_COMPONENT", cause.message);
    }
    TRY(auto warnings,
        check_component(*report, manifest(), core_.options().publishing, core_.now()));
    for (auto& warning : warnings) content_.warnings.push_back(std::move(warning));
    imports_ = report->imports;
    return {};
  }

  PublishResult<void> compile() {
    if (!content_.component) return {};
    auto hash = ContentHash::parse(upload_.content_hash);
    ALGA_CHECK(hash.has_value());
    const auto compiled = artefacts_.prepare(*hash, content_.component->string());
    if (!compiled) {
      const Error& cause = compiled.error();
      if (cause.kind == Kind::unavailable || cause.kind == Kind::internal) {
        return std::unexpected(Refusal{cause});
      }
      return refuse(Kind::unprocessable, cause.code, "COMPILE_FAILED", cause.message);
    }
    return {};
  }

  /// Addressed by content, so that doing it twice, or for nothing, does no harm.
  PublishResult<void> store_bundle() {
    auto hash = ContentHash::parse(upload_.content_hash);
    ALGA_CHECK(hash.has_value());
    canonical_key_ = blob::shared_bundle_key(*hash);
    TRY_VOID(core_.deps().bundles->put_file(canonical_key_, archive_.string()));
    TRY_VOID(core_.deps().bundles->put_file(blob::shared_manifest_key(*hash),
                                            (content_.folder / "manifest.json").string()));
    return {};
  }

  PublishResult<Publication> insert() {
    auto inserted = core_.db().write([&](sql::Executor& sql) -> Result<Publication> {
      TRY(std::string extension_id, ensure_extension(sql));
      TRY(domain::SemVer version, free_version(sql, extension_id));
      std::string version_id = core_.new_id();
      TRY_VOID(insert_version(sql, extension_id, version_id, version));
      TRY_VOID(insert_content(sql, version_id));
      TRY_VOID(Staging::end(sql, upload_.id));
      TRY_VOID(append_audit(sql, core_, caller_,
                            {.tenant = std::string(kPlatformTenant),
                             .action = "extension.published",
                             .target = version_id,
                             .details = {{"slug", slug_},
                                         {"version", version.str()},
                                         {"content_hash", "sha256:" + upload_.content_hash},
                                         {"signed", signature_.has_value()}}}));
      return Publication{extension_id,     manifest().name, publisher_.name,      slug_,
                         version_id,       version.str(),   upload_.content_hash, canonical_key_,
                         content_.warnings};
    });
    if (inserted) return std::move(*inserted);
    if (inserted.error().code == "publish.version_exists") return version_exists();
    if (inserted.error().code == "publish.slug_taken") {
      return std::unexpected(Refusal{inserted.error(), "SLUG_TAKEN"});
    }
    return std::unexpected(Refusal{inserted.error()});
  }

  Result<std::string> ensure_extension(sql::Executor& sql) {
    WallTime now = core_.now();
    auto text = [](const std::string& value) {
      return value.empty() ? std::optional<std::string>{} : std::optional{value};
    };
    TRY_VOID(sql.execute(
        "INSERT INTO extension_registry (id, publisher_id, name, slug, display_name, description, "
        "created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $7) ON CONFLICT DO NOTHING",
        {core_.new_id(), publisher_.id, manifest().name, slug_, text(manifest().display_name),
         text(manifest().description), now}));
    TRY(auto row,
        sql.find("SELECT id, publisher_id, name FROM extension_registry WHERE slug = $1", {slug_}));
    // Of this publisher and name there is one, under a slug that they do not make.
    if (!row) return malformed_cell("slug");
    auto [id, publisher_id, name] = row->as<std::string, std::string, std::string>();
    if (publisher_id != publisher_.id || name != manifest().name) {
      return fail(Kind::conflict, "publish.slug_taken",
                  "an extension with a similar name has this slug");
    }
    TRY_VOID(
        sql.execute("UPDATE extension_registry SET display_name = $1, description = $2, "
                    "updated_at = $3 WHERE id = $4",
                    {text(manifest().display_name), text(manifest().description), now, id}));
    return id;
  }

  Result<domain::SemVer> free_version(sql::Executor& sql, const std::string& extension_id) {
    domain::SemVer version = manifest().version;
    if (!version.any_patch) return version;
    TRY(auto row, sql.find("SELECT max(patch) FROM extension_version WHERE extension_id = $1 AND "
                           "major = $2 AND minor = $3",
                           {extension_id, version.major, version.minor}));
    ALGA_CHECK(row.has_value());  // an aggregate
    auto highest = row->at<std::optional<std::uint64_t>>(0);
    version.any_patch = false;
    version.patch = highest ? *highest + 1 : 0;
    return version;
  }

  Status insert_version(sql::Executor& sql, const std::string& extension_id,
                        const std::string& version_id, const domain::SemVer& version) {
    boost::json::array egress;
    for (const std::string& rule : manifest().egress) egress.emplace_back(rule);
    boost::json::array capabilities;
    for (const std::string& name : manifest().capabilities.names()) capabilities.emplace_back(name);
    TRY(std::uint64_t made,
        sql.execute(
            "INSERT INTO extension_version (id, extension_id, version, major, minor, patch, "
            "prerelease, runtime, manifest, capabilities, egress, endpoints_declared, "
            "client_portal, has_ui, created_at, created_by) VALUES ($1, $2, $3, $4, $5, $6, "
            "$7, $8, $9, $10, $11, $12, $13, $14, $15, $16) ON CONFLICT DO NOTHING",
            {version_id, extension_id, version.str(), version.major, version.minor, version.patch,
             fmt::format("{}", fmt::join(version.pre, ".")), manifest().runtime,
             content_.manifest_text, to_text(capabilities), to_text(egress),
             manifest().endpoints_declared, manifest().client_portal_label.has_value(),
             manifest().ui_entry.has_value(), core_.now(), caller_.principal.id}));
    if (made == 0) {
      return fail(Kind::conflict, "publish.version_exists", "this version has been published");
    }
    return {};
  }

  Status insert_content(sql::Executor& sql, const std::string& version_id) {
    boost::json::array imports;
    for (const std::string& name : imports_) imports.emplace_back(name);
    boost::json::array warnings;
    for (const auto& warning : content_.warnings) {
      warnings.push_back(boost::json::object{{"code", warning.code}, {"message", warning.message}});
    }
    std::optional<std::string> key_id;
    std::optional<sql::Blob> signature;
    if (signature_) {
      key_id = signature_->key_id;
      signature = sql::Blob{signature_->bytes};
    }
    TRY_VOID(sql.execute(
        "INSERT INTO extension_bundle (version_id, content_hash, size_bytes, canonical_key, "
        "signature_key_id, signature, component_imports, warnings, created_at) VALUES ($1, $2, $3, "
        "$4, $5, $6, $7, $8, $9)",
        {version_id, upload_.content_hash, upload_.size, canonical_key_, key_id, signature,
         to_text(imports), to_text(warnings), core_.now()}));
    std::int64_t position = 0;
    for (const domain::Endpoint& endpoint : manifest().endpoints) {
      TRY_VOID(
          sql.execute("INSERT INTO extension_api_endpoint (version_id, position, method, path) "
                      "VALUES ($1, $2, $3, $4)",
                      {version_id, position++, endpoint.method, endpoint.path}));
    }
    for (const auto& [path, map] : content_.source_maps) {
      TRY_VOID(
          sql.execute("INSERT INTO extension_source_map (version_id, path, source_map) VALUES "
                      "($1, $2, $3)",
                      {version_id, path, sql::Blob{map}}));
    }
    return {};
  }

  const Core& core_;
  ArtefactInventory& artefacts_;
  const Caller& caller_;
  BundleContent content_;
  std::filesystem::path archive_;
  StagedUpload upload_;
  Publisher publisher_;
  std::string slug_;
  std::string canonical_key_;
  std::vector<std::string> imports_;
  std::optional<Signature> signature_;
};

}  // namespace

std::string bundle_signature_text(std::string_view hash_hex) {
  return fmt::format("alga-bundle:v1:sha256:{}", hash_hex);
}

PublishResult<Publication> Publishing::finalize(const Caller& caller,
                                                const FinalizeRequest& request) {
  TRY(StagedUpload upload, staging_.find(caller, request.key));
  if (request.size && *request.size != upload.size) {
    return refuse(Kind::invalid, "publish.size_mismatch", "SIZE_MISMATCH",
                  "the upload has another size than declared");
  }
  if (request.declared_hash) {
    auto declared = ContentHash::parse(*request.declared_hash);
    if (!declared || declared->hex() != upload.content_hash) {
      return refuse(Kind::invalid, "publish.hash_mismatch", "HASH_MISMATCH",
                    "the upload has another hash than declared");
    }
  }
  TRY(ScratchFolder scratch, ScratchFolder::make(core_.options().scratch));
  std::filesystem::path archive = scratch.path() / "bundle.tar.zst";
  TRY_VOID(staging_.fetch(upload, archive));
  TRY(BundleContent content, open_bundle(core_, archive, scratch.path()));
  Finalization finalization(core_, artefacts_, caller, std::move(content), archive, upload);
  TRY(Publication publication, finalization.run(request.signature_text));
  // The version is out; what is left of the upload is only litter, and the sweep takes it.
  Status removed = staging_.remove(upload.id);
  if (!removed)
    core_.log().warn("an upload could not be removed", {{"code", removed.error().code}});
  return publication;
}

}  // namespace alga::control_plane
