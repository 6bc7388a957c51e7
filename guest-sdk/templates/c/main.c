/* Counts the bytes of its input by kind: the body of a call, or stdin of your shell. Method, path
 * and query of the call are in the environment, as for CGI. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

int main(void) {
    unsigned long letters = 0, digits = 0, spaces = 0, others = 0;
    for (int c; (c = getchar()) != EOF;) {
        if (isalpha(c)) letters++;
        else if (isdigit(c)) digits++;
        else if (isspace(c)) spaces++;
        else others++;
    }
    if (ferror(stdin)) {
        fputs("stdin cannot be read\n", stderr);
        return 1;
    }
    const char *path = getenv("PATH_INFO");
    printf("%s: %lu letters, %lu digits, %lu spaces, %lu others\n",
           path && *path ? path : "/", letters, digits, spaces, others);
    return 0;
}
