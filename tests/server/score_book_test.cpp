#include "server/service/score_book.h"

#include <gtest/gtest.h>

using namespace macadam;

namespace {

ConfusionMatrix matrix_of(uint64_t value) { return {2, {value, 0, 0, value}}; }

TEST(ScoreBook, KeepsWhatWasPut) {
  ScoreBook book;
  EXPECT_FALSE(book.find("a"));
  book.put("a", matrix_of(1));
  book.put("b", matrix_of(2));
  EXPECT_EQ(book.find("a"), matrix_of(1));
  EXPECT_EQ(book.find("b"), matrix_of(2));
}

TEST(ScoreBook, TheOldestGoWhenThereIsNoRoom) {
  ScoreBook book(3 * 4 * sizeof(uint64_t));
  for (const char* key : {"a", "b", "c", "d"}) book.put(key, matrix_of(1));
  EXPECT_FALSE(book.find("a"));
  for (const char* key : {"b", "c", "d"}) EXPECT_TRUE(book.find(key)) << key;
  book.put("d", matrix_of(2));
  EXPECT_EQ(book.find("d"), matrix_of(1)) << "what is known stays";
  EXPECT_TRUE(book.find("b")) << "and costs nothing";
  book.put("large", ConfusionMatrix(4));
  EXPECT_FALSE(book.find("large")) << "more than there is room for";
  EXPECT_TRUE(book.find("d"));
}

}  // namespace
