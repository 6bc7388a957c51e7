/* Counts lines, words and bytes of stdin, and lists the commonest words: what `wordcount` does, in
 * C. A plain program that knows nothing of the network it runs on. ASCII letters and digits make a
 * word, everything else separates. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TABLE = 1 << 16, WORD_MAX = 64 };

struct entry {
    char word[WORD_MAX];
    unsigned count;
};

static struct entry *table;
static unsigned distinct;

/* FNV-1a; open addressing, at most three quarters full. */
static int count_word(const char *word) {
    unsigned hash = 2166136261u;
    for (const char *c = word; *c; c++) hash = (hash ^ (unsigned char)*c) * 16777619u;
    for (unsigned slot = hash % TABLE;; slot = (slot + 1) % TABLE) {
        struct entry *e = &table[slot];
        if (e->count == 0) {
            if (distinct >= TABLE / 4 * 3) return -1;
            distinct++;
            strcpy(e->word, word);
        } else if (strcmp(e->word, word) != 0) {
            continue;
        }
        e->count++;
        return 0;
    }
}

static int by_count_then_word(const void *left, const void *right) {
    const struct entry *a = left, *b = right;
    if (a->count != b->count) return a->count < b->count ? 1 : -1;
    return strcmp(a->word, b->word);
}

int main(int argc, char **argv) {
    unsigned long top = argc > 1 ? strtoul(argv[1], NULL, 10) : 10;
    unsigned long lines = 0, words = 0, bytes = 0;
    char word[WORD_MAX];
    unsigned len = 0;
    table = calloc(TABLE, sizeof *table);
    if (!table) return 1;
    for (;;) {
        int c = getchar();
        if (c != EOF && isalnum(c)) {
            if (len < WORD_MAX - 1) word[len++] = (char)tolower(c);
        } else if (len > 0) {
            word[len] = 0;
            len = 0;
            words++;
            if (count_word(word) < 0) {
                fputs("too many different words\n", stderr);
                return 1;
            }
        }
        if (c == EOF) break;
        bytes++;
        lines += c == '\n';
    }
    if (ferror(stdin)) return 1;
    for (unsigned from = 0, to = 0; from < TABLE; from++)
        if (table[from].count && from != to++) table[to - 1] = table[from];
    qsort(table, distinct, sizeof *table, by_count_then_word);
    printf("%lu lines, %lu words, %lu bytes\n", lines, words, bytes);
    for (unsigned i = 0; i < top && i < distinct; i++)
        printf("%6u  %s\n", table[i].count, table[i].word);
    return 0;
}
