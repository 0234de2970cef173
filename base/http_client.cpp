#include "base/http_client.h"

#include <future>

#include "base/error.h"

#ifdef MACADAM_HAS_CURL
#include <curl/curl.h>
#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <map>
#include <mutex>
#include <thread>

#include "base/text.h"
#endif

namespace macadam {

#ifndef MACADAM_HAS_CURL

class HttpClient::Impl {};

bool has_http_client() { return false; }

HttpClient::HttpClient(HttpClientOptions options) {
  throw InputError("this build cannot ask over HTTP", options.address,
                   "install libcurl4-openssl-dev and build again with MACADAM_CURL=ON");
}
HttpClient::~HttpClient() = default;
void HttpClient::stop() {}
void HttpClient::ask(HttpQuestion, Then) {}

#else

namespace {

constexpr int kPollMilliseconds = 500;
constexpr long kConnections = 32;  // to the API at once; more requests wait for one

struct EasyEnd {
  void operator()(CURL* handle) const { curl_easy_cleanup(handle); }
};
struct MultiEnd {
  void operator()(CURLM* handle) const { curl_multi_cleanup(handle); }
};
struct ListEnd {
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};
struct UrlEnd {
  void operator()(CURLU* url) const { curl_url_cleanup(url); }
};

/// curl wants to be told once, before there are threads that use it.
void begin_curl() {
  static const CURLcode begun = curl_global_init(CURL_GLOBAL_DEFAULT);
  if (begun != CURLE_OK) throw RunError("curl cannot be used", curl_easy_strerror(begun), "");
}

bool has_part(CURLU* url, CURLUPart part) {
  char* text = nullptr;
  const bool there = curl_url_get(url, part, &text, 0) == CURLUE_OK;
  curl_free(text);
  return there;
}

/// Where requests go: a URL that targets are added to, and the socket if it is one.
struct Destination {
  std::string base, socket;
};

Destination parse_address(const std::string& address) {
  constexpr const char* kRemedy =
      "give it as http://127.0.0.1:8080, https://HOST or the path of a Unix socket";
  if (address.starts_with("/") || address.starts_with("unix:")) {
    return {"http://localhost", address.starts_with("/") ? address : address.substr(5)};
  }
  const std::unique_ptr<CURLU, UrlEnd> url(curl_url());
  const bool known = address.starts_with("http://") || address.starts_with("https://");
  if (!known || curl_url_set(url.get(), CURLUPART_URL, address.c_str(), 0) != CURLUE_OK) {
    throw InputError("this is no address of a service", quote(address), kRemedy);
  }
  if (has_part(url.get(), CURLUPART_USER) || has_part(url.get(), CURLUPART_PASSWORD)) {
    throw InputError("an address with a name or password in it", quote(address),
                     "leave them out; a token is given apart from the address");
  }
  if (has_part(url.get(), CURLUPART_QUERY) || has_part(url.get(), CURLUPART_FRAGMENT)) {
    throw InputError("an address with a query in it", quote(address), kRemedy);
  }
  std::string base = address;
  while (base.ends_with('/')) base.pop_back();
  return {base, ""};
}

/// A request on its way.
class Transfer {
 public:
  Transfer(HttpQuestion request, HttpClient::Then then, const HttpClientOptions& options,
           const Destination& destination, size_t& all_bytes)
      : request_(std::move(request)),
        then_(std::move(then)),
        most_bytes_(options.answer_bytes),
        most_of_all_(options.all_answer_bytes),
        all_bytes_(all_bytes),
        handle_(curl_easy_init()) {
    if (!handle_) throw std::bad_alloc();
    const std::string url = destination.base + request_.target;
    set(CURLOPT_URL, url.c_str());
    if (!destination.socket.empty()) set(CURLOPT_UNIX_SOCKET_PATH, destination.socket.c_str());
    set(CURLOPT_PATH_AS_IS, 1L);
    set(CURLOPT_PROTOCOLS_STR, "http,https");
    set(CURLOPT_PROXY, "");
    set(CURLOPT_NOSIGNAL, 1L);
    set(CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
    set(CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(options.connect_time.count()));
    set(CURLOPT_TIMEOUT_MS, static_cast<long>(options.answer_time.count()));
    set(CURLOPT_WRITEFUNCTION, &Transfer::on_body);
    set(CURLOPT_WRITEDATA, this);
    set(CURLOPT_HEADERFUNCTION, &Transfer::on_field);
    set(CURLOPT_HEADERDATA, this);
    set(CURLOPT_XFERINFOFUNCTION, &Transfer::on_progress);
    set(CURLOPT_XFERINFODATA, this);
    set(CURLOPT_NOPROGRESS, 0L);
    if (request_.method == "HEAD") set(CURLOPT_NOBODY, 1L);
    if (request_.method == "POST" || request_.method == "PUT") {
      set(CURLOPT_POST, 1L);
      set(CURLOPT_CUSTOMREQUEST, request_.method.c_str());
      const std::string& body = request_.lent_body ? *request_.lent_body : request_.body;
      set(CURLOPT_POSTFIELDS, body.data());
      set(CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(body.size()));
      add_field("Expect", "");  // no waiting for "100 Continue"
      add_field("Content-Type", "");
    }
    for (const auto& [name, value] : request_.fields) add_field(name, value);
    if (!options.token.empty()) add_field("Authorization", "Bearer " + options.token);
    set(CURLOPT_HTTPHEADER, fields_.get());
  }

  ~Transfer() { all_bytes_ -= counted_; }
  Transfer(const Transfer&) = delete;
  Transfer& operator=(const Transfer&) = delete;

  CURL* handle() const { return handle_.get(); }

  void finish(CURLcode result) {
    if (result == CURLE_OK) {
      long status = 0;
      curl_easy_getinfo(handle(), CURLINFO_RESPONSE_CODE, &status);
      answer_.status = static_cast<int>(status);
      return then_(std::move(answer_));
    }
    const HttpAnswer::Outcome outcome = no_room_ ? HttpAnswer::Outcome::too_many
                                        : result == CURLE_OPERATION_TIMEDOUT && is_connected()
                                            ? HttpAnswer::Outcome::late
                                        : result == CURLE_WRITE_ERROR ? HttpAnswer::Outcome::large
                                                                      : HttpAnswer::Outcome::none;
    HttpAnswer failed;
    failed.outcome = outcome;
    failed.reason = curl_easy_strerror(result);
    then_(std::move(failed));
  }

 private:
  /// Whether there was a connection to ask on.
  bool is_connected() const {
    curl_off_t asked = 0;
    curl_easy_getinfo(handle_.get(), CURLINFO_PRETRANSFER_TIME_T, &asked);
    return asked > 0;
  }

  template <typename T>
  void set(CURLoption option, T value) {
    const CURLcode result = curl_easy_setopt(handle_.get(), option, value);
    if (result != CURLE_OK)
      throw RunError("curl refuses an option", curl_easy_strerror(result), "");
  }

  void add_field(const std::string& name, const std::string& value) {
    const std::string line = name + ": " + value;
    curl_slist* const longer =
        curl_slist_append(fields_.get(), value.empty() ? (name + ":").c_str() : line.c_str());
    if (longer == nullptr) throw std::bad_alloc();
    static_cast<void>(fields_.release());
    fields_.reset(longer);
  }

  static size_t on_body(char* bytes, size_t, size_t count, void* self) noexcept {
    auto& transfer = *static_cast<Transfer*>(self);
    std::string& body = transfer.answer_.body;
    if (body.size() + count > transfer.most_bytes_) return 0;
    if (transfer.all_bytes_ + count > transfer.most_of_all_) {
      transfer.no_room_ = true;
      return 0;
    }
    try {
      if (body.empty()) body.reserve(transfer.announced());
      body.append(bytes, count);
      transfer.counted_ += count;
      transfer.all_bytes_ += count;
    } catch (const std::bad_alloc&) {
      return 0;
    }
    return count;
  }

  /// What the answer says that it has; at most as much as is taken.
  size_t announced() const {
    curl_off_t length = -1;
    curl_easy_getinfo(handle(), CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
    return length < 0 ? 0 : std::min<size_t>(static_cast<size_t>(length), most_bytes_);
  }

  static size_t on_field(char* bytes, size_t, size_t count, void* self) noexcept {
    auto& transfer = *static_cast<Transfer*>(self);
    try {
      const std::string_view line(bytes, count);
      const size_t colon = line.find(':');
      if (line.starts_with("HTTP/")) {
        transfer.answer_ = {};  // an interim answer came before
      } else if (colon != std::string_view::npos) {
        transfer.take_field(std::string(line.substr(0, colon)), trim(line.substr(colon + 1)));
      }
    } catch (const std::bad_alloc&) {
      return 0;
    }
    return count;
  }

  void take_field(std::string name, std::string_view value) {
    static constexpr std::string_view kType = "content-type";
    const auto same = [](char a, char b) {
      return std::tolower(static_cast<unsigned char>(a)) == b;
    };
    if (std::ranges::equal(name, kType, same)) {
      answer_.content_type = value;
    } else {
      answer_.fields.emplace_back(std::move(name), value);
    }
  }

  static std::string_view trim(std::string_view text) {
    const auto space = [](unsigned char c) { return std::isspace(c) != 0; };
    while (!text.empty() && space(text.front())) text.remove_prefix(1);
    while (!text.empty() && space(text.back())) text.remove_suffix(1);
    return text;
  }

  static int on_progress(void* self, curl_off_t, curl_off_t, curl_off_t, curl_off_t) noexcept {
    const auto& transfer = *static_cast<Transfer*>(self);
    return transfer.request_.abandoned && transfer.request_.abandoned() ? 1 : 0;
  }

  HttpQuestion request_;
  HttpClient::Then then_;
  const size_t most_bytes_, most_of_all_;
  size_t& all_bytes_;  // of all transfers; touched on the client's thread alone
  size_t counted_ = 0;
  bool no_room_ = false;
  std::unique_ptr<curl_slist, ListEnd> fields_;
  std::unique_ptr<CURL, EasyEnd> handle_;
  HttpAnswer answer_;
};

}  // namespace

class HttpClient::Impl {
 public:
  explicit Impl(HttpClientOptions options)
      : options_(std::move(options)), destination_(parse_address(options_.address)) {
    begin_curl();
    multi_.reset(curl_multi_init());
    if (!multi_) throw std::bad_alloc();
    curl_multi_setopt(multi_.get(), CURLMOPT_MAX_HOST_CONNECTIONS, kConnections);
    thread_ = std::jthread([this](const std::stop_token& stop) { run(stop); });
  }
  ~Impl() { stop(); }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  void stop() {
    std::vector<std::unique_ptr<Transfer>> dropped;
    {
      const std::lock_guard lock(mutex_);
      stopped_ = true;
      dropped.swap(new_);
    }
    if (!thread_.joinable()) return;
    thread_.request_stop();
    curl_multi_wakeup(multi_.get());
    thread_.join();
    for (const auto& [handle, transfer] : transfers_) {
      curl_multi_remove_handle(multi_.get(), handle);
    }
    transfers_.clear();
  }

  void ask(HttpQuestion request, Then then) {
    HttpAnswer refused;
    {
      const std::lock_guard lock(mutex_);
      if (stopped_) {
        refused.outcome = HttpAnswer::Outcome::none;
        refused.reason = "this is ending";
      } else if (waiting_ >= options_.waiting) {
        refused.outcome = HttpAnswer::Outcome::too_many;
      } else {
        new_.push_back(std::make_unique<Transfer>(std::move(request), then, options_, destination_,
                                                  all_bytes_));
        ++waiting_;
        then = nullptr;
      }
    }
    if (then) return then(std::move(refused));
    curl_multi_wakeup(multi_.get());
  }

 private:
  void run(const std::stop_token& stop) {
    while (!stop.stop_requested()) {
      begin_new();
      int running = 0;
      curl_multi_perform(multi_.get(), &running);
      int left = 0;
      while (const CURLMsg* message = curl_multi_info_read(multi_.get(), &left)) {
        if (message->msg == CURLMSG_DONE) end(message->easy_handle, message->data.result);
      }
      curl_multi_poll(multi_.get(), nullptr, 0, kPollMilliseconds, nullptr);
    }
  }

  void begin_new() {
    std::vector<std::unique_ptr<Transfer>> begun;
    {
      const std::lock_guard lock(mutex_);
      begun.swap(new_);
    }
    for (auto& transfer : begun) {
      CURL* const handle = transfer->handle();
      curl_multi_add_handle(multi_.get(), handle);
      transfers_.emplace(handle, std::move(transfer));
    }
  }

  void end(CURL* handle, CURLcode result) {
    const auto found = transfers_.find(handle);
    curl_multi_remove_handle(multi_.get(), handle);
    const std::unique_ptr<Transfer> transfer = std::move(found->second);
    transfers_.erase(found);
    {
      const std::lock_guard lock(mutex_);
      --waiting_;
    }
    transfer->finish(result);
  }

  const HttpClientOptions options_;
  const Destination destination_;
  std::unique_ptr<CURLM, MultiEnd> multi_;
  size_t all_bytes_ = 0;  // of the thread, as transfers_
  std::map<CURL*, std::unique_ptr<Transfer>> transfers_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<Transfer>> new_;
  size_t waiting_ = 0;  // those among new_ and transfers_
  bool stopped_ = false;
  std::jthread thread_;
};

bool has_http_client() { return true; }

HttpClient::HttpClient(HttpClientOptions options)
    : impl_(std::make_unique<Impl>(std::move(options))) {}
HttpClient::~HttpClient() = default;

void HttpClient::stop() { impl_->stop(); }

void HttpClient::ask(HttpQuestion request, Then then) {
  impl_->ask(std::move(request), std::move(then));
}

#endif

HttpAnswer HttpClient::ask(HttpQuestion question) {
  const auto promise = std::make_shared<std::promise<HttpAnswer>>();
  ask(std::move(question), [promise](HttpAnswer answer) { promise->set_value(std::move(answer)); });
  return promise->get_future().get();
}

}  // namespace macadam
