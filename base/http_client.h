#pragma once
// Asks over HTTP: many requests at once, on one thread. The door to curl; http_client.cpp alone
// includes it.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace macadam {

struct HttpClientOptions {
  /// "http://127.0.0.1:8080", "https://host/prefix", or the path of a Unix socket.
  std::string address;
  std::string token;  // sent as "Authorization: Bearer ..."; empty: none
  std::chrono::milliseconds connect_time{3'000};
  std::chrono::milliseconds answer_time{120'000};  // from connecting to the answer's last byte
  size_t waiting = 512;                            // requests that are not answered
  size_t answer_bytes = size_t{256} << 20;
  size_t all_answer_bytes = size_t{1} << 30;  // of all answers that are on their way
};

struct HttpQuestion {
  std::string method;                                       // GET, HEAD, POST or PUT
  std::string target;                                       // "/v1/models"
  std::vector<std::pair<std::string, std::string>> fields;  // besides Host, Content-Length, token
  std::string body;                                         // of POST and PUT
  std::function<bool()> abandoned;  // whether nobody wants the answer any more; may be empty
  std::shared_ptr<const std::string> lent_body{};  // in the place of `body`, unless it is null
};

struct HttpAnswer {
  enum class Outcome : uint8_t {
    answered,
    none,      // no connection, or it ended; `reason` says why
    late,      // after answer_time
    large,     // more than answer_bytes
    too_many,  // as many wait already, or no more bytes may be on their way
  };
  Outcome outcome = Outcome::answered;
  std::string reason;
  int status = 0;
  std::string content_type, body;
  std::vector<std::pair<std::string, std::string>> fields;  // besides Content-Type
};

/// Whether this build can ask at all.
bool has_http_client();

class HttpClient {
 public:
  /// Throws InputError when the address is none, or this build has no curl. Connects to nobody yet.
  explicit HttpClient(HttpClientOptions options);
  /// What is not answered is dropped without an answer.
  ~HttpClient();
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;

  /// Ends it as the destructor does; who asks later has no answer (`none`). Not on the client's
  /// thread.
  void stop();

  /// Called once. On the client's thread, or where too many wait on the caller's: quick; must not
  /// throw.
  using Then = std::function<void(HttpAnswer)>;
  /// Begins to ask. Nothing is followed: no redirection, no proxy of the environment.
  void ask(HttpQuestion question, Then then);
  /// Asks and waits for the answer.
  HttpAnswer ask(HttpQuestion question);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace macadam
