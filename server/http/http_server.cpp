#include "server/http/http_server.h"

#include <fmt/format.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <boost/asio/dispatch.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/write.hpp>
#include <cerrno>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/text.h"
#include "server/http/socket_path.h"

namespace macadam {

namespace asio = boost::asio;
using boost::system::error_code;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

namespace {

/// Sockets of any family.
using Socket = asio::generic::stream_protocol::socket;

constexpr size_t kReadBytes = size_t{64} << 10;
/// How long, and how much, a connection is read on after an answer that came before the end of the
/// request: a client that still sends would otherwise find the connection reset and lose the
/// answer.
constexpr milliseconds kDrainTime{2000};
constexpr size_t kDrainBytes = size_t{256} << 20;
/// Answers of no more bytes do not count against the budget, so that there is always room to say
/// why there is none for others.
constexpr size_t kSmallAnswer = size_t{64} << 10;
/// How often it is tried to say that a request was not answered, or to accept clients again.
constexpr int kAnswerTrials = 100;
constexpr milliseconds kTrialEvery{10};

/// The connections that there are.
class Register {
 public:
  /// Counts until it is gone.
  class Place {
   public:
    explicit Place(Register& all) : all_(&all) {}
    Place(Place&& other) noexcept : all_(std::exchange(other.all_, nullptr)) {}
    ~Place() {
      if (all_ != nullptr) all_->leave();
    }
    Place(const Place&) = delete;
    Place& operator=(const Place&) = delete;

   private:
    Register* all_;
  };

  /// Nothing when there are `limit` already.
  std::optional<Place> enter(size_t limit) {
    const std::lock_guard lock(mutex_);
    if (count_ >= limit) return std::nullopt;
    ++count_;
    return Place(*this);
  }
  size_t count() const {
    const std::lock_guard lock(mutex_);
    return count_;
  }
  bool wait_until_empty(milliseconds time) {
    std::unique_lock lock(mutex_);
    return empty_.wait_for(lock, time, [this] { return count_ == 0; });
  }

 private:
  void leave() {
    const std::lock_guard lock(mutex_);
    if (--count_ == 0) empty_.notify_all();
  }

  mutable std::mutex mutex_;
  std::condition_variable empty_;
  size_t count_ = 0;
};

/// What the connections of a server share.
struct Shared {
  Shared(const HttpServerOptions& options_, HttpHandler& handler_)
      : options(options_),
        handler(handler_),
        budget(options_.body_budget),
        answers(options_.answer_budget) {}

  HttpServerOptions options;
  HttpHandler& handler;
  ByteBudget budget;
  ByteBudget answers;  // that are not written yet
  Register connections;
  std::atomic<bool> stopping = false;
};

/// One client: requests one after the other. All of its work runs on one thread.
class Connection : public std::enable_shared_from_this<Connection> {
 public:
  Connection(Socket socket, std::shared_ptr<Shared> shared, Register::Place place)
      : shared_(std::move(shared)),
        place_(std::move(place)),
        socket_(std::move(socket)),
        deadline_(socket_.get_executor()),
        buffer_(kReadBytes) {}
  ~Connection() = default;
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  void start() {
    asio::dispatch(socket_.get_executor(), [self = shared_from_this()] { self->begin(); });
  }

  /// Ends when nothing is unanswered.
  void stop() {
    asio::post(socket_.get_executor(), [self = shared_from_this()] {
      if (self->phase_ == Phase::idle) self->close();
    });
  }

 private:
  class Pending;

  enum class Phase : uint8_t { idle, reading, handling, writing, draining };

  void begin() {
    if (shared_->stopping) return close();
    parser_.emplace(shared_->options.limits, shared_->budget);
    head_seen_ = false;
    enter(Phase::idle, shared_->options.idle_time);
    if (filled_ > 0) {
      feed();
    } else {
      read();
    }
  }

  void enter(Phase phase, milliseconds time) {
    phase_ = phase;
    deadline_.expires_after(time);
    deadline_.async_wait([self = weak_from_this()](const error_code& error) {
      if (error) return;
      if (const auto connection = self.lock()) connection->expire();
    });
  }

  /// The client was too slow.
  void expire() {
    if (deadline_.expiry() > steady_clock::now()) return;  // it was set anew in the meantime
    if (phase_ == Phase::reading) {
      answer_fault({408, "the request took too long to arrive"});
    } else if (phase_ != Phase::handling) {
      close();
    }
  }

  void read() {
    socket_.async_read_some(asio::buffer(buffer_.data() + filled_, buffer_.size() - filled_),
                            [self = shared_from_this()](const error_code& error, size_t count) {
                              // What still arrives after an answer is drain()'s.
                              if (self->phase_ != Phase::idle && self->phase_ != Phase::reading)
                                return;
                              if (error) return self->close();
                              self->filled_ += count;
                              self->feed();
                            });
  }

  /// Gives the parser what has come.
  void feed() {
    if (phase_ == Phase::idle) enter(Phase::reading, shared_->options.request_time);
    const size_t taken = parser_->take({buffer_.data(), filled_});
    std::copy(buffer_.begin() + static_cast<ptrdiff_t>(taken),
              buffer_.begin() + static_cast<ptrdiff_t>(filled_), buffer_.begin());
    filled_ -= taken;
    if (parser_->fault()) return answer_fault(*parser_->fault());
    if (parser_->head_done() && !head_seen_) {
      head_seen_ = true;
      if (auto answer = shared_->handler.refuse(parser_->request())) {
        return write(std::move(*answer), parser_->done() && parser_->request().keep_alive);
      }
      if (parser_->expects_continue() && !parser_->done() && filled_ == 0) return invite();
    }
    if (parser_->done()) return hand_over();
    if (filled_ == buffer_.size()) return answer_fault({400, "a line of the body is too long"});
    read();
  }

  /// "100 Continue".
  void invite() {
    static constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";
    asio::async_write(socket_, asio::buffer(kContinue),
                      [self = shared_from_this()](const error_code& error, size_t) {
                        if (self->phase_ != Phase::reading) return;
                        if (error) return self->close();
                        self->read();
                      });
  }

  void answer_fault(const RequestFault& fault) {
    write(shared_->handler.answer_fault(fault, parser_->request()), false);
  }

  void hand_over();
  /// Notices a client that leaves before its answer.
  void watch(const std::shared_ptr<Pending>& pending);

  void write(HttpResponse response, bool keep_alive, ByteBudget::Hold room = nullptr) {
    keep_alive = keep_alive && !shared_->stopping;
    room_ = std::move(room);
    head_ = response_head(response, keep_alive);
    body_ = std::move(response.body);
    if (!parser_ || parser_->request().method == "HEAD") body_.clear();
    enter(Phase::writing, shared_->options.response_time);
    const std::array<asio::const_buffer, 2> parts{asio::buffer(head_), asio::buffer(body_)};
    asio::async_write(socket_, parts,
                      [self = shared_from_this(), keep_alive](const error_code& error, size_t) {
                        std::string().swap(self->body_);
                        self->room_.reset();
                        if (self->phase_ != Phase::writing) return;
                        if (error) return self->close();
                        if (keep_alive) return self->begin();
                        self->finish();
                      });
  }

  /// Ends the connection so that the client can read the answer.
  void finish() {
    parser_.reset();
    error_code ignored;
    socket_.shutdown(Socket::shutdown_send, ignored);
    enter(Phase::draining, kDrainTime);
    drain();
  }

  void drain() {
    socket_.async_read_some(asio::buffer(buffer_),
                            [self = shared_from_this()](const error_code& error, size_t count) {
                              self->drained_ += count;
                              if (error || self->drained_ > kDrainBytes) return self->close();
                              self->drain();
                            });
  }

  void close() {
    error_code ignored;
    deadline_.cancel();
    socket_.close(ignored);
  }

  std::shared_ptr<Shared> shared_;
  const Register::Place place_;
  Socket socket_;
  asio::steady_timer deadline_;
  std::vector<char> buffer_;
  size_t filled_ = 0, drained_ = 0;
  Phase phase_ = Phase::idle;
  std::optional<RequestParser> parser_;
  bool head_seen_ = false;
  std::string head_, body_;  // of the answer
  ByteBudget::Hold room_;    // the body's
};

/// A request in the hands of the handler.
class Connection::Pending : public Exchange {
 public:
  Pending(HttpRequest request, std::shared_ptr<Connection> connection)
      : Exchange(std::move(request)), connection_(std::move(connection)) {}
  ~Pending() override {
    // Want of memory may be why there was no answer, and passes.
    for (int i = 0; !answered_ && i < kAnswerTrials; ++i) {
      if (i > 0) std::this_thread::sleep_for(kTrialEvery);
      try {
        respond(connection_->shared_->handler.answer_fault(
            {500, "the request could not be answered", RequestFault::Kind::dropped}, request()));
      } catch (const std::exception&) {
        // Once more.
      }
    }
  }
  Pending(const Pending&) = delete;
  Pending& operator=(const Pending&) = delete;

  bool make_room(size_t bytes) override {
    if (bytes <= kSmallAnswer || room_ != nullptr) return true;
    room_ = connection_->shared_->answers.hold(bytes);
    return room_ != nullptr;
  }

  void respond(HttpResponse response) override {
    if (answered_.exchange(true)) return;
    try {
      if (!make_room(response.body.size())) {
        response = connection_->shared_->handler.answer_fault(
            {503, "clients have not taken as many answers as the server holds, try again",
             RequestFault::Kind::memory},
            request());
      }
      send(std::move(response));
    } catch (const std::exception&) {
      answered_ = false;
      throw;
    }
  }
  /// The client is gone: an answer is dropped.
  void leave() { abandon(); }
  bool answered() const { return answered_; }

 private:
  void send(HttpResponse response) {
    asio::dispatch(connection_->socket_.get_executor(),
                   [connection = connection_, keep_alive = request().keep_alive,
                    response = std::move(response), room = std::move(room_)]() mutable {
                     if (connection->phase_ != Phase::handling) return;  // it has left
                     try {
                       connection->write(std::move(response), keep_alive, std::move(room));
                     } catch (const std::exception&) {
                       connection->close();  // nothing else ends it in this phase
                     }
                   });
  }

  std::shared_ptr<Connection> connection_;
  ByteBudget::Hold room_;  // of who answers
  std::atomic<bool> answered_ = false;
};

void Connection::hand_over() {
  phase_ = Phase::handling;
  deadline_.cancel();
  // The parser stays until the answer: it holds the body's share of the budget.
  HttpRequest request = std::move(parser_->request());
  parser_->request().method = request.method;  // for write()
  const auto pending = std::make_shared<Pending>(std::move(request), shared_from_this());
  if (filled_ == 0) watch(pending);
  shared_->handler.handle(pending);
}

void Connection::watch(const std::shared_ptr<Pending>& pending) {
  socket_.async_wait(
      Socket::wait_read,
      [self = shared_from_this(), watched = std::weak_ptr(pending)](const error_code& error) {
        const auto waiting = watched.lock();
        if (error || !waiting || waiting->answered()) return;
        char byte = 0;
        const auto peeked =
            ::recv(self->socket_.native_handle(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
        // More bytes are the next request, which has time.
        if (peeked > 0 || (peeked < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))) return;
        waiting->leave();
        self->phase_ = Phase::draining;
        self->close();
      });
}

std::string quoted_address(const std::string& host, int port) {
  return quote(fmt::format("{}:{}", host, port));
}

}  // namespace

class HttpServer::Impl {
 public:
  Impl(const HttpServerOptions& options, HttpHandler& handler)
      : shared_(std::make_shared<Shared>(options, handler)) {
    require(options.limits.head_bytes < kReadBytes, "a head fits into the buffer");
    require(options.threads >= 1, "a thread for the connections");
    for (int i = 0; i < options.threads; ++i) loops_.push_back(std::make_unique<Loop>());
  }

  ~Impl() {
    stop();
    for (const auto& loop : loops_) loop->context.stop();
    threads_.clear();
    paths_.clear();  // stop() may not have had its turn
  }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  int listen(const std::string& host, int port) {
    error_code error;
    asio::ip::tcp::resolver resolver(first());
    const auto found = resolver.resolve(host, std::to_string(port), error);
    if (error || found.empty()) {
      throw InputError("there is no such host", quote(host), "give an address, as 127.0.0.1");
    }
    const asio::ip::tcp::endpoint endpoint = *found.begin();
    asio::ip::tcp::acceptor acceptor(first());
    acceptor.open(endpoint.protocol(), error);
    if (!error) acceptor.set_option(asio::ip::tcp::acceptor::reuse_address(true), error);
    if (!error) acceptor.bind(endpoint, error);
    if (!error) acceptor.listen(asio::socket_base::max_listen_connections, error);
    if (error) {
      throw InputError(fmt::format("cannot listen ({})", error.message()),
                       quoted_address(host, port), "choose another --port or --host");
    }
    const int bound = acceptor.local_endpoint().port();
    tcp_.push_back(std::make_unique<Door<asio::ip::tcp::acceptor>>(std::move(acceptor)));
    return bound;
  }

  void listen(const std::filesystem::path& path) {
    namespace local = asio::local;
    clear_socket_path(path);
    error_code error;
    local::stream_protocol::acceptor acceptor(first());
    acceptor.open(local::stream_protocol(), error);
    if (!error) acceptor.bind(local::stream_protocol::endpoint(path.string()), error);
    if (!error) paths_.emplace_back(path);
    if (!error) acceptor.listen(asio::socket_base::max_listen_connections, error);
    if (error) {
      throw InputError(fmt::format("cannot listen ({})", error.message()), quote(path.string()),
                       "choose another --unix path");
    }
    unix_.push_back(
        std::make_unique<Door<asio::local::stream_protocol::acceptor>>(std::move(acceptor)));
  }

  void start() {
    for_each_door([this](auto& door) { accept(door); });
    for (const auto& loop : loops_) {
      threads_.emplace_back([this, &context = loop->context] { run(context); });
    }
  }

  void stop() {
    shared_->stopping = true;
    asio::post(first(), [this] {
      const std::lock_guard lock(mutex_);
      error_code ignored;
      paths_.clear();
      for_each_door([&](auto& door) { door.acceptor.close(ignored); });
      for (const auto& weak : alive_) {
        if (const auto connection = weak.lock()) connection->stop();
      }
    });
  }

  bool wait_until_idle(milliseconds time) { return shared_->connections.wait_until_empty(time); }
  size_t connections() const { return shared_->connections.count(); }

 private:
  /// Where clients come in.
  template <typename Acceptor>
  struct Door {
    explicit Door(Acceptor taken) : acceptor(std::move(taken)) {}
    Acceptor acceptor;
    /// Somebody is waited for, or will be when a timer ends. What waits may outlive the door.
    std::shared_ptr<std::atomic<bool>> open = std::make_shared<std::atomic<bool>>(false);
  };

  template <typename Visit>
  void for_each_door(const Visit& visit) {
    for (const auto& door : tcp_) visit(*door);
    for (const auto& door : unix_) visit(*door);
  }

  /// What a thread does. A connection stays with one, so that it needs no lock, and no strand,
  /// which does not survive want of memory.
  struct Loop {
    asio::io_context context{1};
    asio::executor_work_guard<asio::io_context::executor_type> guard =
        asio::make_work_guard(context);
  };

  asio::io_context& first() { return loops_.front()->context; }
  /// In turns.
  asio::io_context& next() { return loops_[turn_++ % loops_.size()]->context; }

  void run(asio::io_context& context) {
    for (;;) {
      try {
        context.run();
        return;
      } catch (const std::exception&) {
        // For want of memory, say: it has cost one connection its answer, and no other.
      }
      for_each_door([this](auto& door) { open_again(door); });
    }
  }

  /// Accepts clients again at a door that what was thrown has closed.
  template <typename Acceptor>
  void open_again(Door<Acceptor>& door) {
    while (!*door.open && !shared_->stopping) {
      try {
        accept(door);
      } catch (const std::exception&) {
        std::this_thread::sleep_for(kTrialEvery);
      }
    }
  }

  /// Closes a door again unless somebody came in: what waits there may be lost for want of memory.
  class Waiting {
   public:
    explicit Waiting(std::shared_ptr<std::atomic<bool>> open) : open_(std::move(open)) {}
    Waiting(Waiting&& other) noexcept = default;
    ~Waiting() { end(); }
    Waiting(const Waiting&) = delete;
    Waiting& operator=(const Waiting&) = delete;

    void end() {
      if (open_ != nullptr) *open_ = false;
      open_.reset();
    }

   private:
    std::shared_ptr<std::atomic<bool>> open_;
  };

  /// Unless it is open already.
  template <typename Acceptor>
  void accept(Door<Acceptor>& door) {
    if (door.open->exchange(true)) return;
    Waiting waiting(door.open);
    door.acceptor.async_accept(
        asio::any_io_executor(next().get_executor()),
        [this, &door, waiting = std::move(waiting)](const error_code& error, auto socket) mutable {
          waiting.end();
          if (shared_->stopping || error == asio::error::operation_aborted) return;
          if (error) return retry(door);
          take(std::move(socket));
          accept(door);
        });
  }

  /// The process has no descriptors left, or the client was gone already.
  template <typename Acceptor>
  void retry(Door<Acceptor>& door) {
    const auto timer = std::make_shared<asio::steady_timer>(first(), milliseconds(50));
    timer->async_wait([this, timer, &door](const error_code&) {
      if (!shared_->stopping) accept(door);
    });
  }

  template <typename AnySocket>
  void take(AnySocket socket) {
    error_code ignored;
    if constexpr (std::is_same_v<typename AnySocket::protocol_type, asio::ip::tcp>) {
      socket.set_option(asio::ip::tcp::no_delay(true), ignored);
    }
    auto place = shared_->connections.enter(shared_->options.connections);
    if (!place) {
      const HttpResponse answer = shared_->handler.answer_fault(
          {503, "the server has too many connections", RequestFault::Kind::connections}, {});
      const std::string text = response_head(answer, false) + answer.body;
      socket.non_blocking(true, ignored);
      socket.write_some(asio::buffer(text), ignored);
      return;
    }
    auto connection =
        std::make_shared<Connection>(Socket(std::move(socket)), shared_, std::move(*place));
    {
      const std::lock_guard lock(mutex_);
      std::erase_if(alive_, [](const auto& weak) { return weak.expired(); });
      alive_.push_back(connection);
    }
    connection->start();
  }

  std::shared_ptr<Shared> shared_;
  std::vector<std::unique_ptr<Loop>> loops_;
  std::atomic<size_t> turn_ = 0;
  std::vector<std::unique_ptr<Door<asio::ip::tcp::acceptor>>> tcp_;
  std::vector<std::unique_ptr<Door<asio::local::stream_protocol::acceptor>>> unix_;
  std::vector<SocketPath> paths_;  // removed before their doors close
  std::mutex mutex_;
  std::vector<std::weak_ptr<Connection>> alive_;
  std::vector<std::jthread> threads_;
};

HttpServer::HttpServer(const HttpServerOptions& options, HttpHandler& handler)
    : impl_(std::make_unique<Impl>(options, handler)) {}
HttpServer::~HttpServer() = default;

int HttpServer::listen(const std::string& host, int port) { return impl_->listen(host, port); }
void HttpServer::listen(const std::filesystem::path& path) { impl_->listen(path); }
void HttpServer::start() { impl_->start(); }
void HttpServer::stop() { impl_->stop(); }
bool HttpServer::wait_until_idle(milliseconds time) { return impl_->wait_until_idle(time); }
size_t HttpServer::connections() const { return impl_->connections(); }

}  // namespace macadam
