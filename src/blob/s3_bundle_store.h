#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/clock.h"
#include "blob/object_transport.h"
#include "blob/remote_object.h"
#include "blob/sigv4.h"

namespace alga::blob {

/// Objects in a bucket of an S3 server, requests signed with Signature Version 4, bodies included.
/// Thread-safe.
///
/// Beyond the errors of the port: `blob.bucket_missing`. A server that may not list the bucket
/// answers 403 for a missing key; that is `blob.denied` here, so the policy of the account needs
/// `s3:ListBucket`.
class S3BundleStore final : public domain::BundleStore {
 public:
  struct Options {
    std::string endpoint;  ///< `https://s3.eu-central-1.amazonaws.com`, without a path
    std::string bucket;
    std::string prefix;  ///< in front of every key: empty or an object key
    std::string region = "us-east-1";
    /// `endpoint/bucket/key`, or `bucket.endpoint/key`.
    enum class Addressing : bool { path, virtual_host } addressing = Addressing::path;
    std::chrono::milliseconds timeout{60'000};  ///< of one attempt
    RetryPolicy retries;
  };
  /// Asked before each request, so that rotated keys are used at once; and again when the server
  /// refuses them, because they may have been replaced meanwhile, or be about to be. Thread-safe.
  using CredentialSource = std::function<Result<S3Credentials>()>;

  /// What `make` asks of the parts of its options. Error: `blob.invalid_config`.
  [[nodiscard]] static Status check_endpoint(std::string_view text);
  [[nodiscard]] static bool is_bucket(std::string_view text);
  [[nodiscard]] static bool is_prefix(std::string_view text);

  /// Errors: `blob.invalid_config`. `transport` and `clock` outlive the store.
  [[nodiscard]] static Result<std::unique_ptr<S3BundleStore>> make(Options options,
                                                                   CredentialSource credentials,
                                                                   ObjectTransport& transport,
                                                                   const Clock& clock);

  Status get(std::string_view key, std::uint64_t max_bytes, domain::ByteSink sink) override;
  Status put_file(std::string_view key, const std::string& path) override;
  Status remove(std::string_view key) override;
  [[nodiscard]] Result<bool> exists(std::string_view key) override;
  Status probe() override;
  void abort() noexcept override { transport_.abort(); }

 private:
  struct Target;
  struct Body;
  S3BundleStore(Options options, std::string scheme, std::string host, CredentialSource credentials,
                ObjectTransport& transport, const Clock& clock);
  [[nodiscard]] ObjectRequest sign(const std::string& method, std::string_view key,
                                   const Body& body, const S3Credentials& credentials) const;
  Result<ObjectResponse> call(const std::string& method, std::string_view key, const Body& body,
                              std::uint64_t max_bytes, domain::ByteSink sink);
  /// Keys other than those that were refused, as soon as there are some; none if there are not.
  [[nodiscard]] std::optional<S3Credentials> successors(const S3Credentials& refused) const;

  Options options_;
  std::string scheme_, host_;
  CredentialSource credentials_;
  ObjectTransport& transport_;
  const Clock& clock_;
};

}  // namespace alga::blob
