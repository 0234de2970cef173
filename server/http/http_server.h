#pragma once
// Connections: accepts them, reads requests within limits and deadlines, writes answers. A slow
// client costs a socket and never a thread. The door to Boost.Asio; http_server.cpp alone
// includes it.

#include <atomic>
#include <chrono>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "server/http/message.h"
#include "server/http/request_parser.h"

namespace macadam {

struct HttpServerOptions {
  RequestLimits limits;
  size_t body_budget = size_t{512} << 20;  // bytes of bodies being received, of all connections
  /// Bytes of answers that clients have not taken, of all connections; small ones do not count.
  size_t answer_budget = size_t{512} << 20;
  int threads = 2;                                  // for all connections together
  size_t connections = 1024;                        // at once; others are answered 503
  std::chrono::milliseconds idle_time{60'000};      // between two requests of a connection
  std::chrono::milliseconds request_time{30'000};   // from a request's first byte to its last
  std::chrono::milliseconds response_time{60'000};  // for the client to take an answer
};

/// A request that was read whole and waits for its answer.
class Exchange {
 public:
  explicit Exchange(HttpRequest request) : request_(std::move(request)) {}
  virtual ~Exchange() = default;
  Exchange(const Exchange&) = delete;
  Exchange& operator=(const Exchange&) = delete;

  const HttpRequest& request() const { return request_; }
  /// When it had been read.
  std::chrono::steady_clock::time_point received() const { return received_; }
  /// Whether the client has left: nobody reads an answer.
  bool abandoned() const { return abandoned_; }
  /// Whether an answer with a body of so many bytes may be held until the client has taken it: it
  /// has its room then. A small one always may.
  virtual bool make_room(size_t bytes) = 0;
  /// Sends the answer, or the answer to a fault 503 when there is no room for it; what comes after
  /// the first is dropped. From any thread.
  virtual void respond(HttpResponse response) = 0;

 protected:
  void abandon() { abandoned_ = true; }

 private:
  HttpRequest request_;
  std::chrono::steady_clock::time_point received_ = std::chrono::steady_clock::now();
  std::atomic<bool> abandoned_ = false;
};

/// What a server does with requests. Called from the threads of the connections: quick.
class HttpHandler {
 public:
  virtual ~HttpHandler() = default;
  /// An answer to a request whose head alone has been read, when its body need not be.
  virtual std::optional<HttpResponse> refuse(const HttpRequest& head) = 0;
  /// Sees to it that the request is answered, now or later. One that is dropped unanswered is
  /// answered with 500.
  virtual void handle(std::shared_ptr<Exchange> exchange) = 0;
  /// The answer to what is not a request, came too slowly or was dropped. `head`: what is known of
  /// it; may be empty.
  virtual HttpResponse answer_fault(const RequestFault& fault, const HttpRequest& head) = 0;
};

class HttpServer {
 public:
  /// `handler` outlives the server.
  HttpServer(const HttpServerOptions& options, HttpHandler& handler);
  /// Cuts all connections.
  ~HttpServer();

  /// Listens at an address or host name; port 0 takes a free one. Returns the port. Throws
  /// InputError when that cannot be had.
  int listen(const std::string& host, int port);
  /// Listens on a Unix socket, which is made, and removed with the server. Throws InputError when
  /// something else has the path, or somebody listens there.
  void listen(const std::filesystem::path& path);
  /// Begins to serve.
  void start();
  /// Accepts nobody any more, and closes connections as soon as no request of theirs is unanswered.
  void stop();
  /// Whether all connections have ended in that time.
  bool wait_until_idle(std::chrono::milliseconds time);
  size_t connections() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace macadam
