#include <charconv>

#include "control_plane/cell.h"
#include "control_plane/services.h"
#include "control_plane/storage_codec.h"
#include "domain/grant.h"

namespace alga::control_plane {
namespace {

/// `{error, code, details}` of the internal API.
httpd::Response internal_error(const Error& error, std::string_view request_id) {
  auto [status, code] = storage_error_code(error);
  return json_answer(status, boost::json::object{{"error", error.message},
                                                 {"code", code},
                                                 {"details", {{"code", error.code}}},
                                                 {"request_id", request_id}});
}

/// `{error:{code,message,details}}` of the public API.
httpd::Response public_error(const Error& error, std::string_view request_id) {
  auto [status, code] = storage_error_code(error);
  return json_answer(status, boost::json::object{{"error",
                                                  {{"code", code},
                                                   {"message", error.message},
                                                   {"details", {{"code", error.code}}},
                                                   {"request_id", request_id}}}});
}

Result<InstallId> install_param(const httpd::Request& request) {
  auto found = request.params.find("installId");
  auto id = InstallId::parse(found == request.params.end() ? "" : found->second);
  if (!id) return fail(Kind::denied, "storage.denied", "there is no such install");
  return *id;
}

/// The grant of the execution that asks, when it is good and for this install's storage.
Result<domain::StorageScope> scope_of_grant(Services& services, std::string_view token,
                                            const InstallId& install) {
  TRY(auto verified, services.grants.verify(token));
  const domain::Grant& grant = verified->grant;
  if (grant.install != install || !grant.capabilities.contains(domain::Capability::storage_kv)) {
    return fail(Kind::denied, "storage.denied", "the grant does not permit this");
  }
  return domain::StorageScope{grant.tenant, install};
}

/// The token of runners, which says nothing of whose storage it is.
Status check_runner(Services& services, const httpd::Request& request) {
  if (!has_token(request, "x-runner-auth", services.core.options().tokens.storage)) {
    return fail(Kind::unauthenticated, "auth.invalid_token", "the token is not valid");
  }
  if (services.core.options().storage_without_grant) return {};
  return fail(Kind::denied, "storage.denied",
              "only with x-alga-grant: control_plane.storage_without_grant is off");
}

/// Before the body is read: a grant or a runner's token, without a look into the database.
Status admit_internal(Services& services, const httpd::Request& request) {
  TRY(const InstallId install, install_param(request));
  const auto grant = request.header("x-alga-grant");
  if (!grant) return check_runner(services, request);
  TRY_VOID(scope_of_grant(services, *grant, install));
  return {};
}

Result<domain::StorageScope> internal_scope(Services& services, const httpd::Request& request) {
  TRY(InstallId install, install_param(request));
  if (auto grant = request.header("x-alga-grant")) {
    return scope_of_grant(services, *grant, install);
  }
  TRY_VOID(check_runner(services, request));
  // The earlier system's runners name no tenant, and ids of installs are unique among all of them.
  TRY(auto row, services.core.db().read([&](sql::Executor& sql) {
    return sql.find("SELECT tenant FROM tenant_extension_install WHERE id = $1", {install});
  }));
  auto tenant = row ? TenantId::parse(row->at<std::string>(0)) : std::nullopt;
  if (!tenant) return fail(Kind::denied, "storage.denied", "there is no such install");
  return domain::StorageScope{*tenant, install};
}

Result<boost::json::object> full_record(const StoredRecord& record) {
  boost::json::object json = record_head(record);
  TRY_VOID(add_value(json, record));
  TRY_VOID(add_metadata(json, record));
  return json;
}

struct ListWishes {
  domain::StorageList list;
  bool values = false;
  bool metadata = false;
};

Result<boost::json::object> listing_json(const domain::StorageScope& scope,
                                         const StorageListing& listing, const ListWishes& wishes) {
  boost::json::array items;
  for (const StoredRecord& record : listing.records) {
    boost::json::object item = record_head(record);
    item["tenantId"] = scope.tenant.str();
    item["extensionInstallId"] = scope.install.str();
    if (wishes.values) TRY_VOID(add_value(item, record));
    if (wishes.metadata) TRY_VOID(add_metadata(item, record));
    items.push_back(std::move(item));
  }
  boost::json::object answer{{"items", std::move(items)}};
  answer["nextCursor"] =
      listing.next_cursor ? boost::json::value(*listing.next_cursor) : boost::json::value(nullptr);
  return answer;
}

Result<ListWishes> read_wishes(json::Object& root, std::string ns) {
  ListWishes wishes;
  wishes.list.ns = std::move(ns);
  TRY(auto limit, root.optional_integer("limit", 1, 100));
  if (limit) wishes.list.limit = static_cast<std::uint32_t>(*limit);
  TRY(auto cursor, root.optional_string("cursor", 4096));
  wishes.list.cursor = cursor.value_or("");
  TRY(auto prefix, root.optional_string("keyPrefix", 1024));
  wishes.list.prefix = prefix.value_or("");
  TRY(auto values, root.optional_boolean("includeValues"));
  wishes.values = values.value_or(false);
  TRY(auto metadata, root.optional_boolean("includeMetadata"));
  wishes.metadata = metadata.value_or(false);
  return wishes;
}

/// `ifRevision` of a read: the record must have it.
Status check_revision(const StoredRecord& record, const std::optional<std::int64_t>& expected) {
  if (!expected || static_cast<std::uint64_t>(*expected) == record.revision) return {};
  return fail(Kind::conflict, "storage.conflict", "the record has another revision");
}

/// One operation of the internal API; `root` has been asked for `operation` and `namespace`.
class InternalOperation {
 public:
  InternalOperation(StorageRecords& records, domain::StorageScope scope, json::Object& root,
                    std::string ns)
      : records_(records), scope_(std::move(scope)), root_(root), ns_(std::move(ns)) {}

  Result<boost::json::value> run(std::string_view operation) {
    if (operation == "put") return put();
    if (operation == "get") return get();
    if (operation == "list") return list();
    if (operation == "delete") return remove();
    if (operation == "bulkPut") return bulk_put();
    return fail(Kind::invalid, "storage.invalid", "operation is none of the known ones");
  }

 private:
  Result<boost::json::value> put() {
    TRY(std::string key, root_.string("key"));
    TRY(StorageWrite write, read_write(root_, ns_, std::move(key)));
    TRY(StoredRecord record, records_.put(scope_, write));
    return record_head(record);
  }
  Result<boost::json::value> get() {
    TRY(std::string key, root_.string("key"));
    TRY(auto if_revision, root_.optional_integer("ifRevision", 0));
    TRY(StoredRecord record, records_.get(scope_, ns_, key));
    TRY_VOID(check_revision(record, if_revision));
    TRY(boost::json::object whole, full_record(record));
    return whole;
  }
  Result<boost::json::value> list() {
    TRY(ListWishes wishes, read_wishes(root_, ns_));
    TRY(StorageListing listing, records_.list(scope_, wishes.list));
    TRY(boost::json::object page, listing_json(scope_, listing, wishes));
    return page;
  }
  Result<boost::json::value> remove() {
    TRY(std::string key, root_.string("key"));
    TRY(auto if_revision, root_.optional_integer("ifRevision", 0));
    TRY(auto condition, read_condition(if_revision));
    Status removed = records_.remove(scope_, ns_, key, condition);
    if (!removed && removed.error().code != "storage.missing") {
      return fail(std::move(removed).error());
    }
    return boost::json::object{{"success", removed.has_value()}};
  }
  Result<boost::json::value> bulk_put() {
    // As many as the body may hold: too many are the limit's business, by however many.
    TRY(auto items, root_.objects("items", longest_bulk_write(records_.limits())));
    TRY_VOID(records_.check_count(items.size()));
    std::vector<StorageWrite> writes;
    for (json::Object& item : items) {
      TRY(std::string key, item.string("key"));
      TRY(StorageWrite write, read_write(item, ns_, std::move(key)));
      writes.push_back(std::move(write));
    }
    TRY(auto stored, records_.put_all(scope_, writes));
    boost::json::array answer;
    for (const StoredRecord& record : stored) {
      boost::json::object head = record_head(record);
      answer.push_back(boost::json::object{{"key", record.key},
                                           {"revision", record.revision},
                                           {"ttlExpiresAt", head["ttlExpiresAt"]}});
    }
    return boost::json::object{{"namespace", ns_}, {"items", std::move(answer)}};
  }

  StorageRecords& records_;
  domain::StorageScope scope_;
  json::Object& root_;
  std::string ns_;
};

Result<httpd::Response> internal_storage(Services& services, const httpd::Request& request) {
  TRY(auto scope, internal_scope(services, request));
  const std::size_t longest = longest_bulk_write(services.storage_records.limits());
  TRY(auto document, json::Document::parse(request.body, {.max_bytes = longest}));
  TRY(json::Object root, json::Object::of(document.value()));
  TRY(std::string operation, root.string("operation", 32));
  TRY(std::string ns, root.string("namespace"));
  InternalOperation work(services.storage_records, std::move(scope), root, std::move(ns));
  TRY(auto answer, work.run(operation));
  return json_answer(200, answer);
}

// The public API: an administrator at the records of an install of the own tenant.

Result<domain::StorageScope> public_scope(Services& services, const Call& call) {
  TRY(TenantId tenant, call.tenant());
  TRY(InstallRow install, services.installs.get(tenant, call.param("installId")));
  TRY(InstallId id, parsed_cell<InstallId>(install.id, "id"));
  return domain::StorageScope{tenant, std::move(id)};
}

Result<std::optional<std::int64_t>> revision_text(const std::optional<std::string>& text) {
  if (!text || text->empty()) return std::optional<std::int64_t>{};
  std::int64_t revision = 0;
  auto [end, code] = std::from_chars(text->data(), text->data() + text->size(), revision);
  if (code != std::errc{} || end != text->data() + text->size() || revision < 0) {
    return fail(Kind::invalid, "storage.invalid", "a revision is a number");
  }
  return std::optional{revision};
}

Result<httpd::Response> list_records(Services& services, const Call& call) {
  TRY(auto scope, public_scope(services, call));
  ListWishes wishes;
  wishes.list.ns = call.param("namespace");
  TRY(wishes.list.limit, call.limit(25, 100));
  wishes.list.cursor = call.request.query_param("cursor").value_or("");
  wishes.list.prefix = call.request.query_param("keyPrefix").value_or("");
  wishes.values = call.request.query_param("includeValues") == "true";
  wishes.metadata = call.request.query_param("includeMetadata") == "true";
  TRY(StorageListing listing, services.storage_records.list(scope, wishes.list));
  TRY(boost::json::object page, listing_json(scope, listing, wishes));
  return json_answer(200, page);
}

Result<httpd::Response> get_record(Services& services, const Call& call) {
  TRY(auto scope, public_scope(services, call));
  std::optional<std::string> header;
  if (auto value = call.request.header("if-revision-match")) header = std::string(*value);
  TRY(auto expected, revision_text(header));
  TRY(StoredRecord record,
      services.storage_records.get(scope, call.param("namespace"), call.param("key")));
  TRY_VOID(check_revision(record, expected));
  TRY(boost::json::object whole, full_record(record));
  return json_answer(200, whole);
}

Result<httpd::Response> put_record(Services& services, const Call& call,
                                   const std::optional<std::string>& key_in_path) {
  TRY(auto scope, public_scope(services, call));
  const std::size_t longest = longest_write(services.storage_records.limits());
  TRY(auto document, json::Document::parse(call.request.body, {.max_bytes = longest}));
  TRY(json::Object root, json::Object::of(document.value()));
  std::string key = key_in_path.value_or("");
  if (!key_in_path) {
    TRY(key, root.string("key"));
  }
  TRY(StorageWrite write, read_write(root, call.param("namespace"), std::move(key)));
  TRY(StoredRecord record, services.storage_records.put(scope, write));
  return json_answer(key_in_path ? 200 : 201, record_head(record));
}

Result<httpd::Response> delete_record(Services& services, const Call& call) {
  TRY(auto scope, public_scope(services, call));
  TRY(auto revision, revision_text(call.request.query_param("ifRevision")));
  TRY(auto condition, read_condition(revision));
  TRY_VOID(services.storage_records.remove(scope, call.param("namespace"), call.param("key"),
                                           condition));
  return no_content();
}

}  // namespace

void add_storage_routes(Api& api, Services& services) {
  api.add_open(
      "POST", "/api/internal/ext-storage/install/{installId}",
      [&services](const httpd::Request& request) { return internal_storage(services, request); },
      {.route = {.max_body = longest_bulk_write(services.storage_records.limits())},
       .error = &internal_error,
       .admit = [&services](const httpd::Request& request) {
         return admit_internal(services, request);
       }});

  const std::string records = "/api/ext-storage/install/{installId}/{namespace}/records";
  const ActionOptions options{
      .route = {.max_body = longest_write(services.storage_records.limits())},
      .error = &public_error};
  auto add = [&](std::string_view method, const std::string& pattern, Action action) {
    api.add(method, pattern, Access::tenant_admins, std::move(action), options);
  };
  add("GET", records, [&services](const Call& call) { return list_records(services, call); });
  add("POST", records,
      [&services](const Call& call) { return put_record(services, call, std::nullopt); });
  add("GET", records + "/{key}",
      [&services](const Call& call) { return get_record(services, call); });
  add("PUT", records + "/{key}",
      [&services](const Call& call) { return put_record(services, call, call.param("key")); });
  add("DELETE", records + "/{key}",
      [&services](const Call& call) { return delete_record(services, call); });
}

}  // namespace alga::control_plane
