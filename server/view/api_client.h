#pragma once
// Asks an API over HTTP: many requests at once, on one thread. The door to curl; api_client.cpp
// alone includes it.

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "server/http/message.h"

namespace macadam {

struct ApiClientOptions {
  /// "http://127.0.0.1:8080", "https://host/prefix", or the path of a Unix socket.
  std::string address;
  std::string token;  // sent as "Authorization: Bearer ..."; empty: none
  std::chrono::milliseconds connect_time{3'000};
  std::chrono::milliseconds answer_time{120'000};  // from connecting to the answer's last byte
  size_t waiting = 512;                            // requests that are not answered; more: 503
  size_t answer_bytes = size_t{256} << 20;
};

struct ApiRequest {
  std::string method;             // GET, HEAD or POST
  std::string target;             // "/v1/models"
  std::vector<HttpField> fields;  // besides Host, Content-Length and Authorization
  std::string body;
  std::function<bool()> abandoned;  // whether nobody wants the answer any more; may be empty
};

/// Whether this build can ask an API at all.
bool has_api_client();

class ApiClient {
 public:
  /// Throws InputError when the address is none, or this build has no curl. Connects to nobody yet.
  explicit ApiClient(ApiClientOptions options);
  /// What is not answered is dropped without an answer.
  ~ApiClient();

  /// Called once with the API's answer, of which all fields are kept; or 502 when there was none,
  /// 503 when too many wait, 504 when it took too long. On the client's thread: quick; must not
  /// throw.
  using Then = std::function<void(HttpResponse)>;
  /// Begins to ask. Nothing is followed: no redirection, no proxy of the environment.
  void ask(ApiRequest request, Then then);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace macadam
