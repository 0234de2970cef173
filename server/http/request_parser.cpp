#include "server/http/request_parser.h"

#include <algorithm>
#include <boost/beast/http/basic_parser.hpp>
#include <boost/beast/http/error.hpp>

namespace macadam {

namespace http = boost::beast::http;
using boost::beast::error_code;
using BeastView = boost::beast::string_view;

namespace {

std::string_view view_of(BeastView text) { return {text.data(), text.size()}; }

/// A line that begins with white space continues the one before, which no client has reason to
/// send, and which programs read differently (RFC 9112, 5.2).
bool has_folded_line(std::string_view head) {
  return head.find("\n ") != std::string_view::npos || head.find("\n\t") != std::string_view::npos;
}

RequestFault fault_of(const error_code& error) {
  if (error == http::error::header_limit) return {431, "the request's head is too large"};
  if (error == http::error::body_limit) return {413, "the body is too large"};
  if (error == http::error::bad_transfer_encoding) {
    return {400, "a body has either a Content-Length or the transfer encoding chunked"};
  }
  if (error == http::error::multiple_content_length || error == http::error::bad_content_length) {
    return {400, "Content-Length is one number"};
  }
  if (error == http::error::bad_chunk || error == http::error::bad_chunk_extension) {
    return {400, "a chunk of the body is malformed"};
  }
  return {400, "this is not a request of HTTP/1.1"};
}

}  // namespace

class RequestParser::Impl : public http::basic_parser<true> {
 public:
  Impl(const RequestLimits& limits, ByteBudget& budget) : limits_(limits), budget_(budget) {
    header_limit(static_cast<uint32_t>(limits.head_bytes));
    body_limit(limits.body_bytes);
    eager(true);
  }
  ~Impl() override { budget_.give_back(held_); }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  size_t take(std::string_view bytes) {
    if (fault_ || is_done()) return 0;
    if (!is_header_done() && !has_head(bytes)) return 0;
    size_t taken = 0;
    while (taken < bytes.size() && !is_done() && !fault_) {
      error_code error;
      const size_t put_now = put({bytes.data() + taken, bytes.size() - taken}, error);
      taken += put_now;
      if (error == http::error::need_more) break;
      if (error == http::error::bad_version &&
          bytes.substr(0, bytes.find('\n')).find("HTTP/1.") == std::string_view::npos) {
        refuse({505, "this server speaks HTTP/1.0 and HTTP/1.1"});
      }
      if (error && !fault_) fault_ = fault_of(error);
    }
    return taken;
  }

  HttpRequest request;
  bool expects_continue = false;
  const std::optional<RequestFault>& fault() const { return fault_; }

 private:
  /// Whether the bytes hold the whole head; looks for what Beast would let pass.
  bool has_head(std::string_view bytes) {
    const size_t end = bytes.find("\r\n\r\n");
    if (std::min(end, bytes.size()) > limits_.head_bytes) {
      refuse({431, "the request's head is too large"});
      return false;
    }
    if (end == std::string_view::npos) return false;
    if (has_folded_line(bytes.substr(0, end))) {
      refuse({400, "a header field goes on in another line"});
      return false;
    }
    return true;
  }

  void refuse(const RequestFault& fault) {
    if (!fault_) fault_ = fault;
  }
  void refuse(const RequestFault& fault, error_code& error) {
    refuse(fault);
    error = http::error::bad_value;  // anything: it ends put()
  }

  void on_request_impl(http::verb, BeastView method, BeastView target, int version,
                       error_code&) override {
    request.method = view_of(method);
    request.target = view_of(target);
    modern_ = version >= 11;
  }
  void on_response_impl(int, BeastView, int, error_code&) override {}

  void on_field_impl(http::field, BeastView name, BeastView value, error_code& error) override {
    if (is_header_done()) return;  // a trailer: nobody asked for it
    if (request.fields.size() >= limits_.fields) {
      refuse({431, "the request has too many header fields"}, error);
      return;
    }
    request.fields.emplace_back(view_of(name), view_of(value));
  }

  void on_header_impl(error_code& error) override {
    request.keep_alive = keep_alive();
    if (request.count("Host") != 1 && (modern_ || request.count("Host") > 1)) {
      return refuse({400, "a request names its Host once"}, error);
    }
    // Beast would take "3, 3", too.
    const bool one_number =
        request.field("Content-Length").value_or("").find(',') == std::string_view::npos;
    if (!one_number || request.count("Content-Length") > 1 ||
        request.count("Transfer-Encoding") > 1) {
      return refuse({400, "a body's length is said once"}, error);
    }
    if (const auto coding = request.field("Transfer-Encoding")) {
      if (!same_field(*coding, "chunked")) {
        return refuse({501, "the only transfer encoding is chunked"}, error);
      }
      if (!modern_) return refuse({400, "HTTP/1.0 has no chunked bodies"}, error);
    }
    if (!request.target.starts_with('/') && request.target != "*") {
      return refuse({400, "a request's target begins with /"}, error);
    }
    if (const auto expected = request.field("Expect")) {
      if (!same_field(*expected, "100-continue")) {
        return refuse({400, "the only expectation is 100-continue"}, error);
      }
      expects_continue = modern_;
    }
  }

  void on_body_init_impl(const boost::optional<uint64_t>&, error_code&) override {}

  size_t on_body_impl(BeastView body, error_code& error) override {
    if (request.body.size() + body.size() > request.body.capacity()) grow(body.size(), error);
    if (error) return 0;
    request.body.append(body.data(), body.size());
    return body.size();
  }

  /// Room for so many more bytes, never more than twice what has come: a length that is merely
  /// claimed costs nothing.
  void grow(size_t more, error_code& error) {
    constexpr size_t kLeast = 4096;
    const size_t needed = request.body.size() + more;
    const size_t room = std::max({kLeast, needed, 2 * request.body.capacity()});
    // While it grows the old memory is held too.
    if (!budget_.take(room)) {
      return refuse(
          {503, "too many bodies are being received, try again", RequestFault::Kind::memory},
          error);
    }
    request.body.reserve(room);
    budget_.give_back(held_);
    held_ = room;
  }

  void on_chunk_header_impl(uint64_t, BeastView, error_code& error) override {
    if (++chunks_ > limits_.chunks) refuse({413, "the body has too many chunks"}, error);
  }
  size_t on_chunk_body_impl(uint64_t, BeastView body, error_code& error) override {
    return on_body_impl(body, error);
  }
  void on_finish_impl(error_code&) override {}

  RequestLimits limits_;
  ByteBudget& budget_;
  std::optional<RequestFault> fault_;
  size_t held_ = 0, chunks_ = 0;
  bool modern_ = false;  // HTTP/1.1
};

RequestParser::RequestParser(const RequestLimits& limits, ByteBudget& budget)
    : impl_(std::make_unique<Impl>(limits, budget)) {}

RequestParser::~RequestParser() = default;

size_t RequestParser::take(std::span<const char> bytes) {
  return impl_->take({bytes.data(), bytes.size()});
}

bool RequestParser::head_done() const { return impl_->is_header_done() && !impl_->fault(); }
bool RequestParser::done() const { return impl_->is_done() && !impl_->fault(); }
const std::optional<RequestFault>& RequestParser::fault() const { return impl_->fault(); }
bool RequestParser::expects_continue() const { return impl_->expects_continue; }
HttpRequest& RequestParser::request() { return impl_->request; }

}  // namespace macadam
