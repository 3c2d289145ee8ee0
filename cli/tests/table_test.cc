#include "table.h"

#include <gtest/gtest.h>

namespace thole::cli {
namespace {

TEST(Table, ColumnsAreAligned) {
  EXPECT_EQ(FormatTable({{"a", "1", "x"}, {"long", "1000", ""}}, {1}),
            "a        1  x\n"
            "long  1000\n");
  EXPECT_EQ(FormatTable({}), "");
}

TEST(Table, WidthIsThatOfCharacters) {
  EXPECT_EQ(FormatTable({{"ü", "b"}, {"xx", "b"}}), "ü   b\nxx  b\n");
}

TEST(Table, NumbersAreGrouped) {
  EXPECT_EQ(Grouped(0), "0");
  EXPECT_EQ(Grouped(999), "999");
  EXPECT_EQ(Grouped(1000), "1,000");
  EXPECT_EQ(Grouped(12'345'678), "12,345,678");
  EXPECT_EQ(Grouped(UINT64_MAX), "18,446,744,073,709,551,615");
}

TEST(Table, SizesHaveUnits) {
  EXPECT_EQ(Size(0), "0 B");
  EXPECT_EQ(Size(1023), "1023 B");
  EXPECT_EQ(Size(1536), "1.5 KiB");
  EXPECT_EQ(Size(uint64_t{1} << 40), "1.0 TiB");
}

TEST(Table, NothingPrintableSteersATerminal) {
  EXPECT_EQ(Printable("plain é 漢 😀"), "plain é 漢 😀");
  EXPECT_EQ(Printable("\x1b[31m"), "\\x1b[31m");
  EXPECT_EQ(Printable("a\nb\x7f"), "a\\x0ab\\x7f");
  EXPECT_EQ(Printable("\xff\xc3"), "\\xff\\xc3");
  EXPECT_EQ(Printable("\xc2\x9b"), "\\xc2\\x9b");  // the one-character form of ESC [
  EXPECT_EQ(Printable(std::string_view("\0", 1)), "\\x00");
}

}  // namespace
}  // namespace thole::cli
