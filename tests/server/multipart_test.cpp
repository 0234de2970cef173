#include "server/http/multipart.h"

#include <gtest/gtest.h>

using namespace macadam;

namespace {

TEST(Multipart, TheBoundaryIsFound) {
  EXPECT_EQ(multipart_boundary("multipart/form-data; boundary=abc"), "abc");
  EXPECT_EQ(multipart_boundary("Multipart/Mixed; charset=x; boundary=\"a b\\\"c\""), std::nullopt);
  EXPECT_EQ(multipart_boundary("multipart/mixed; boundary=\"a b:c\""), "a b:c");
  for (const char* type : {"image/png", "multipart/form-data", "multipart/form-data; boundary=",
                           "multipart/form-data; boundary=\"open", ""}) {
    EXPECT_FALSE(multipart_boundary(type)) << type;
  }
  EXPECT_FALSE(multipart_boundary("multipart/mixed; boundary=" + std::string(71, 'a')));
}

TEST(Multipart, PartsAreRead) {
  const std::string body =
      "--b\r\nContent-Disposition: form-data; name=\"photo\"; filename=\"a;b.png\"\r\n"
      "Content-Type: image/png\r\n\r\none\r\ntwo\r\n--b\r\n\r\n\r\n--b--\r\n";
  const auto parts = parse_multipart(body, "b", 8);
  ASSERT_TRUE(parts);
  ASSERT_EQ(parts->size(), 2u);
  EXPECT_EQ((*parts)[0].name, "photo");
  EXPECT_EQ((*parts)[0].content_type, "image/png");
  EXPECT_EQ((*parts)[0].content, "one\r\ntwo");
  EXPECT_EQ((*parts)[1].content, "");
}

TEST(Multipart, WhatIsNotWellFormedIsNothing) {
  for (const char* body : {"", "--b", "--b--", "--b\r\n", "--b\r\n\r\nx", "--b\r\n\r\nx\r\n--b",
                           "--b\r\n\r\nx\r\n--c--", "x--b\r\n\r\ny\r\n--b--",
                           "--b\r\nno colon\r\n\r\nx\r\n--b--", "--bX\r\n\r\nx\r\n--b--"}) {
    EXPECT_FALSE(parse_multipart(body, "b", 8)) << body;
  }
  const std::string three = "--b\r\n\r\n1\r\n--b\r\n\r\n2\r\n--b\r\n\r\n3\r\n--b--";
  EXPECT_TRUE(parse_multipart(three, "b", 3));
  EXPECT_FALSE(parse_multipart(three, "b", 2));
  EXPECT_FALSE(
      parse_multipart("--b\r\nA: " + std::string(5000, 'x') + "\r\n\r\nx\r\n--b--", "b", 8));
}

TEST(Multipart, WhatIsMadeIsRead) {
  const std::vector<SentPart> parts{{"mask", "image/png", "macadam-part\r\n--macadam-part-1"},
                                    {"confidence", "image/png", std::string("\0\r\n", 3)}};
  const MultipartBody made = make_multipart(parts);
  const auto boundary = multipart_boundary(made.content_type);
  ASSERT_TRUE(boundary);
  const auto read = parse_multipart(made.body, *boundary, 8);
  ASSERT_TRUE(read);
  ASSERT_EQ(read->size(), 2u);
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_EQ((*read)[i].name, parts[i].name);
    EXPECT_EQ((*read)[i].content, parts[i].content);
  }
}

}  // namespace
