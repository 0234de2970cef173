// What is read of a connection, and what is refused: RFC 9112, and where two programs could read
// the same bytes differently.

#include "server/http/request_parser.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <string>

using namespace macadam;

namespace {

class RequestParserTest : public ::testing::Test {
 protected:
  /// Gives the parser the bytes in pieces of so many, keeping what it does not take yet.
  void feed(std::string_view bytes, size_t piece = SIZE_MAX) {
    std::string held;
    while (!bytes.empty() || !held.empty()) {
      const std::string_view more = bytes.substr(0, piece);
      held += more;
      bytes.remove_prefix(more.size());
      const size_t taken = parser_.take(held);
      held.erase(0, taken);
      if (parser_.fault() || parser_.done()) break;
      if (bytes.empty() && taken == 0) break;
    }
    left_ = held + std::string(bytes);
  }

  int status_of(std::string_view bytes) {
    feed(bytes);
    return parser_.fault() ? parser_.fault()->status : 0;
  }

  RequestLimits limits_{.head_bytes = 1024, .fields = 8, .body_bytes = 64, .chunks = 4};
  ByteBudget budget_{1 << 20};
  RequestParser parser_{limits_, budget_};
  std::string left_;
};

constexpr std::string_view kPost = "POST /v1/segment?a=b HTTP/1.1\r\nHost: h\r\n";

TEST_F(RequestParserTest, ARequestIsReadWholeInAnyPieces) {
  for (const size_t piece : {size_t{1}, size_t{2}, size_t{7}, SIZE_MAX}) {
    RequestParser parser(limits_, budget_);
    std::string bytes = std::string(kPost) + "Content-Length: 5\r\nX-A: 1\r\n\r\nhelloGET /";
    std::string held;
    for (size_t at = 0; at < bytes.size() && !parser.done(); at += std::min(piece, bytes.size())) {
      held += bytes.substr(at, piece);
      held.erase(0, parser.take(held));
    }
    ASSERT_TRUE(parser.done());
    EXPECT_EQ(parser.request().method, "POST");
    EXPECT_EQ(parser.request().target, "/v1/segment?a=b");
    EXPECT_EQ(parser.request().body, "hello");
    EXPECT_EQ(parser.request().field("x-a"), "1");
    EXPECT_TRUE(parser.request().keep_alive);
  }
}

TEST_F(RequestParserTest, TheNextRequestIsNotTouched) {
  feed("GET / HTTP/1.1\r\nHost: h\r\n\r\nGET /next HTTP/1.1\r\n");
  ASSERT_TRUE(parser_.done());
  EXPECT_EQ(left_, "GET /next HTTP/1.1\r\n");
}

TEST_F(RequestParserTest, ChunksAreJoined) {
  feed(std::string(kPost) +
       "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=1\r\nde\r\n0\r\nT: 1\r\n\r\n");
  ASSERT_TRUE(parser_.done());
  EXPECT_EQ(parser_.request().body, "abcde");
  EXPECT_FALSE(parser_.request().field("T")) << "trailers are passed over";
}

TEST_F(RequestParserTest, WhatCanBeReadInTwoWaysIsRefused) {
  const std::string post(kPost);
  for (const std::string& head : {
           post + "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
           post + "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
           post + "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
           post + "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
           post + "Content-Length: 3, 3\r\n\r\nabc",
           post + "Content-Length: -1\r\n\r\n",
           post + "Content-Length: +3\r\n\r\nabc",
           post + "Content-Length: 99999999999999999999999\r\n\r\n",
           post + "X-A : 1\r\n\r\n",
           post + "X-A: 1\r\n folded\r\n\r\n",
           post + "X-A: 1\r\n\tfolded\r\n\r\n",
           std::string("POST / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
           std::string("POST / HTTP/1.1\r\n\r\n"),
           std::string("GET http://other/ HTTP/1.1\r\nHost: h\r\n\r\n"),
           std::string("CONNECT other:443 HTTP/1.1\r\nHost: h\r\n\r\n"),
           std::string("GET / HTTP/1.1\nHost: h\n\n\r\n\r\n"),
           post + "Transfer-Encoding: chunked\r\n\r\n-2\r\nab\r\n0\r\n\r\n",
           post + "Transfer-Encoding: chunked\r\n\r\n0x2\r\nab\r\n0\r\n\r\n",
           post + "Transfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n0\r\n\r\n",
           std::string("\r\n\r\n\r\n\r\n"),
           std::string("\x16\x03\x01 TLS\r\n\r\n"),
           std::string("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
       }) {
    RequestParser parser(limits_, budget_);
    std::string held = head;
    for (size_t taken = 1; taken > 0 && !parser.fault();) {
      taken = parser.take(held);
      held.erase(0, taken);
    }
    ASSERT_TRUE(parser.fault()) << head;
    EXPECT_EQ(parser.fault()->status, 400) << head;
    EXPECT_FALSE(parser.done());
  }
}

TEST_F(RequestParserTest, OtherTransferEncodingsAreNotImplemented) {
  const int status =
      status_of(std::string(kPost) + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n");
  EXPECT_TRUE(status == 501 || status == 400) << status;
}

TEST_F(RequestParserTest, OtherVersionsAreNamed) {
  EXPECT_EQ(status_of("GET / HTTP/2.0\r\nHost: h\r\n\r\n"), 505);
}

TEST_F(RequestParserTest, ABodyAtTheLimitIsTakenAndOneAboveIsNot) {
  for (const size_t bytes : {63, 64, 65, 1'000'000}) {
    RequestParser known(limits_, budget_), chunked(limits_, budget_);
    const std::string body(bytes, 'x');
    std::string head = fmt::format("{}Content-Length: {}\r\n\r\n", kPost, bytes) + body;
    head.erase(0, known.take(head));
    if (!known.done() && !known.fault()) known.take(head);
    std::string in_chunks =
        fmt::format("{}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n", kPost, bytes) + body +
        "\r\n0\r\n\r\n";
    for (size_t taken = 1; taken > 0 && !chunked.done() && !chunked.fault();) {
      taken = chunked.take(in_chunks);
      in_chunks.erase(0, taken);
    }
    EXPECT_EQ(known.done(), bytes <= 64) << bytes;
    EXPECT_EQ(chunked.done(), bytes <= 64) << bytes;
    if (bytes > 64) {
      EXPECT_EQ(known.fault()->status, 413);
      EXPECT_EQ(chunked.fault()->status, 413);
    }
  }
}

TEST_F(RequestParserTest, ChunksAreCounted) {
  std::string bytes = std::string(kPost) + "Transfer-Encoding: chunked\r\n\r\n";
  for (int i = 0; i < 5; ++i) bytes += "1\r\nx\r\n";
  EXPECT_EQ(status_of(bytes), 413);
}

TEST_F(RequestParserTest, AHeadIsBounded) {
  EXPECT_EQ(status_of("GET /" + std::string(2000, 'a')), 431) << "a target without an end";
  RequestParser fields(limits_, budget_);
  std::string many = "GET / HTTP/1.1\r\nHost: h\r\n";
  for (int i = 0; i < 10; ++i) many += "A: b\r\n";
  fields.take(many + "\r\n");
  ASSERT_TRUE(fields.fault());
  EXPECT_EQ(fields.fault()->status, 431);
}

TEST_F(RequestParserTest, AClaimedLengthCostsNothing) {
  ByteBudget budget(10'000);
  const RequestLimits large{.body_bytes = size_t{1} << 40};
  RequestParser parser(large, budget);
  std::string head = std::string(kPost) + "Content-Length: 1000000000000\r\n\r\nab";
  head.erase(0, parser.take(head));
  parser.take(head);
  EXPECT_FALSE(parser.fault());
  EXPECT_LE(parser.request().body.capacity(), 4096u);
}

TEST_F(RequestParserTest, BodiesTogetherStayWithinTheBudget) {
  ByteBudget budget(10'000);
  const RequestLimits limits{.body_bytes = 8000};
  const std::string whole =
      fmt::format("{}Content-Length: 6000\r\n\r\n{}", kPost, std::string(6000, 'x'));
  {
    RequestParser first(limits, budget), second(limits, budget);
    first.take(whole);
    second.take(whole);
    EXPECT_TRUE(first.done());
    ASSERT_TRUE(second.fault());
    EXPECT_EQ(second.fault()->status, 503);
  }
  RequestParser third(limits, budget);
  third.take(whole);
  EXPECT_TRUE(third.done()) << "what the others held was given back";
}

TEST_F(RequestParserTest, ExpectationsAreKnownOrRefused) {
  feed(std::string(kPost) + "Content-Length: 3\r\nExpect: 100-continue\r\n\r\n");
  EXPECT_TRUE(parser_.head_done());
  EXPECT_TRUE(parser_.expects_continue());
  RequestParser other(limits_, budget_);
  other.take(std::string(kPost) + "Expect: magic\r\n\r\n");
  ASSERT_TRUE(other.fault());
}

}  // namespace
