"""The one exception that means "the input is wrong", as opposed to "our code is wrong"."""


class InputError(ValueError):
    """Bad input from the user: a config key, a file, a command-line argument.

    The message is one line: which field or file, what is wrong, what to do. Jobs
    print it and end with exit code 2; it never comes with a traceback.
    """
